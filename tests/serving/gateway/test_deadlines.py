"""Deadlines of requests: in the body, in headers, of keys, and met with an answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr import RunOptions
from dreamr.engines import Context
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.deadlines import with_deadline
from dreamr.serving.gateway.keys import Client, read_keys
from dreamr.serving.options import ServeOptions
from support.gateways import Answer, Gateway, asked, use
from support.pairs import RIGHT, Pair
from support.virtual_time import run_virtual

FREE = {"deterministic": False}


def endless(context: Context) -> str:
    """Think until the thought is closed, then answer."""
    said = "".join(context.prefix)
    if "</think>" in said:
        return "" if "It is 42." in said else "It is 42."
    thought = "<think>\n" + "".join(f"I look at number {n} again.\n\n" for n in range(5000))
    return thought[len(said) :]


def thinking() -> Pair:
    slow: dict[str, Any] = {"script": endless, "token_seconds": 0.002}
    return Pair(target={**slow, "opinion": 1.0}, draft=dict(slow))


def answer_to(
    body: dict[str, Any], headers: dict[str, str] | None = None, **options: Any
) -> Answer:
    async def work(gate: Gateway) -> Answer:
        return await gate.ask(body, **(headers or {}))

    return use(work, thinking(), run=run_virtual, **options)


@pytest.mark.parametrize("stream", [True, False])
def test_a_deadline_is_met_with_an_answer(stream: bool) -> None:
    found = answer_to(asked(stream=stream, dreamr={"deadline": 0.8, **FREE}))
    assert found.status == 200
    if stream:
        assert found.said("content") == "It is 42."
        about = found.chunks[-1]["dreamr"]
    else:
        assert found.json["choices"][0]["message"]["content"] == "It is 42."
        about = found.json["dreamr"]
    assert about["deadline"]["seconds"] == 0.8
    assert "answer" in about["deadline"]["stages"]
    assert about["seconds"] < 0.8


def test_the_deadline_of_a_pair_holds_for_its_requests() -> None:
    parsed = ParsedRequest("m", (), RunOptions(deadline=7), (), False, False, False, 60, ())
    clients = Client("a"), Client("b", deadline=3)
    assert [with_deadline(parsed, {}, client).deadline for client in clients] == [7, 3]
    assert with_deadline(replace(parsed, options=RunOptions()), {}, clients[0]).deadline == 60


@pytest.mark.parametrize("seconds", [1e-9, 0.001])
def test_a_deadline_that_passes_before_the_run_is_an_error(seconds: float) -> None:
    found = answer_to(asked(dreamr={"deadline": seconds, **FREE}))
    assert found.status == 504
    assert found.json["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize("name", ["dreamr-deadline", "x-request-timeout"])
def test_a_header_is_a_deadline(name: str) -> None:
    found = answer_to(asked(dreamr={"deadline": 50, **FREE}), {name: "0.8"})
    assert found.status == 200
    assert found.json["dreamr"]["deadline"]["seconds"] == 0.8


@pytest.mark.parametrize("text", ["soon", "0", "-3", "inf", "nan", ""])
def test_a_header_without_a_number_of_seconds_is_refused(text: str) -> None:
    found = answer_to(asked(), {"dreamr-deadline": text})
    assert found.status == 400
    assert "dreamr-deadline must be a number of seconds" in found.json["error"]["message"]


def test_a_key_has_a_deadline(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-a deadline=0.8\n")
    key = {"authorization": "Bearer sk-a"}
    found = answer_to(asked(dreamr={"deadline": 50, **FREE}), key, keys_file=str(file))
    assert found.json["dreamr"]["deadline"]["seconds"] == 0.8


@pytest.mark.parametrize("asks", [{"on_deadline": "error"}, {"deterministic": True}])
def test_a_request_may_forbid_less_verification(asks: dict[str, Any]) -> None:
    found = answer_to(asked(dreamr={"deadline": 0.3, **FREE, **asks}))
    assert found.status == 504
    assert found.json["error"]["code"] == "deadline_exceeded"
    assert found.json["dreamr"]["finish"] == "deadline"
    assert found.json["dreamr"]["deadline"]["stages"] == []


def test_stages_are_counted_in_the_metrics() -> None:
    async def work(gate: Gateway) -> Answer:
        await gate.ask(asked(dreamr={"deadline": 0.8, **FREE}))
        return await gate.ask(path="/metrics", method="GET")

    text = use(work, thinking(), run=run_virtual).body.decode()
    assert 'dreamr:deadline_stages_total{model_name="dreamr",stage="answer"} 1.0' in text


@pytest.mark.parametrize("stream", [True, False])
def test_stages_of_several_answers_are_listed_once(stream: bool) -> None:
    asks = {"deadline": 0.8, **FREE}
    found = [answer_to(asked(n=n, stream=stream, dreamr=asks)) for n in (1, 2)]
    ends = [one.chunks[-1] if stream else one.json for one in found]
    alone, both = (end["dreamr"]["deadline"]["stages"] for end in ends)
    assert "answer" in alone
    assert both == alone


def test_priority_and_deadline_follow_a_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-a priority=-2 deadline=1.5\nsk-b\n")
    first, second = read_keys(ServeOptions(keys_file=str(file))).values()
    assert (first.priority, first.deadline) == (-2, 1.5)
    assert (second.priority, second.deadline) == (0, None)


@pytest.mark.parametrize("stream", [True, False])
def test_a_deadline_ends_a_request(stream: bool) -> None:
    pair = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})

    async def work(gate: Gateway) -> None:
        found = await gate.ask(asked(stream=stream, dreamr={"deadline": 0.02}))
        assert found.status == 504
        assert found.json["error"]["code"] == "deadline_exceeded"
        assert gate.open_streams == 0

    use(work, pair)


def test_a_deadline_during_a_stream_is_an_event_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline comes as soon as the first step has been sent."""
    pair = Pair(target={"script": lambda context: "" if context.prefix else RIGHT[0] + "so " * 99})
    pair.target["token_seconds"] = 0.01
    scopes: list[anyio.CancelScope] = []
    move_on_after = anyio.move_on_after

    @contextmanager
    def noted(delay: float | None, shield: bool = False) -> Iterator[anyio.CancelScope]:
        with move_on_after(delay, shield) as scope:
            if delay is not None and delay > 60:
                scopes.append(scope)
            yield scope

    def heard(found: Answer) -> None:
        if RIGHT[0].strip().encode() in found.body:
            scopes[1].deadline = anyio.current_time()  # the first one is for receiving

    async def work(gate: Gateway) -> Answer:
        monkeypatch.setattr(anyio, "move_on_after", noted)
        body = asked(stream=True, dreamr={"method": "target", "deadline": 99})
        return await gate.ask(body, heard=heard)

    found = use(work, pair)
    assert found.status == 200
    assert found.said("reasoning").startswith(RIGHT[0])
    assert found.chunks[-1]["error"]["code"] == "deadline_exceeded"
