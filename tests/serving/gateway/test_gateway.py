from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from dreamr import RunOptions
from dreamr.conversation import Text
from dreamr.engines import Context, Failure
from dreamr.errors import ContextTooLong, EngineLost
from dreamr.serving.gateway import body as _body
from dreamr.serving.gateway.errors import api_error
from support.gateways import QUESTION, Answer, Gateway, answer, asked, use
from support.pairs import RIGHT, WRONG, Pair

REASONING = "".join(RIGHT[:2])


def test_an_answer_has_reasoning_content_and_usage() -> None:
    found = answer(asked())
    assert found.status == 200
    message = found.json["choices"][0]["message"]
    assert message["content"] == "3.70"
    assert message["reasoning_content"] == message["reasoning"] == REASONING
    assert found.json["choices"][0]["finish_reason"] == "stop"
    usage = found.json["usage"]
    details = usage.pop("completion_tokens_details")
    assert usage == {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}
    assert details["reasoning_tokens"] == 6
    assert details["accepted_prediction_tokens"] == 3
    # The rejected step and the tokens drafted after it.
    assert details["rejected_prediction_tokens"] >= 3
    assert [step["source"] for step in found.json["dreamr"]["steps"]] == [
        "draft", "target", "target",
    ]  # fmt: skip
    assert found.json["dreamr"]["steps"][0]["score"] == pytest.approx(0.93)
    assert found.json["dreamr"]["steps"][0]["kind"] == "ratio"


def test_a_stream_contains_the_same_texts_as_an_answer() -> None:
    found = answer(asked(stream=True, stream_options={"include_usage": True}))
    whole = answer(asked())
    assert found.headers["content-type"].startswith("text/event-stream")
    assert found.said("reasoning_content") == found.said("reasoning") == REASONING
    assert found.said("content") == "3.70"
    assert found.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    steps = [chunk["dreamr"]["step"] for chunk in found.chunks if "step" in chunk.get("dreamr", {})]
    assert [step["source"] for step in steps] == ["draft", "target", "target"]
    assert found.chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert found.chunks[-1]["choices"] == []
    assert found.chunks[-1]["usage"]["total_tokens"] == whole.json["usage"]["total_tokens"]


def test_usage_is_streamed_only_if_requested() -> None:
    chunks = answer(asked(stream=True)).chunks
    assert chunks
    assert all("usage" not in chunk for chunk in chunks)


def test_all_events_are_streamed_if_requested() -> None:
    found = answer(asked(stream=True, dreamr={"events": True}))
    events = [c["dreamr"]["event"] for c in found.chunks if "event" in c.get("dreamr", {})]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "RunStarted"
    assert kinds[-1] == "RunFinished"
    rejected = [event for event in events if event["event"] == "StepRejected"]
    assert [event["step"]["text"] for event in rejected] == [WRONG]
    assert found.said("content") == "3.70"


def test_a_request_chooses_its_method_and_limits() -> None:
    alone = answer(asked(dreamr={"method": "target"}))
    assert {step["source"] for step in alone.json["dreamr"]["steps"]} == {"target"}
    strict = answer(asked(dreamr={"threshold": 0.95}))
    assert {step["source"] for step in strict.json["dreamr"]["steps"]} == {"target"}
    short = answer(asked(max_tokens=3, dreamr={"method": "target"}))
    assert short.json["choices"][0]["finish_reason"] == "length"
    assert short.json["usage"]["completion_tokens"] == 3


def test_a_method_whose_model_is_not_loaded_is_refused() -> None:
    found = answer(asked(dreamr={"method": "fpsr"}), options=RunOptions(method="target"))
    assert found.status == 400
    assert "draft" in found.json["error"]["message"]


def test_a_stop_text_ends_the_answer_and_not_the_reasoning() -> None:
    found = answer(asked(stop=["Milk", ".7"]))
    message = found.json["choices"][0]["message"]
    assert message["content"] == "3"
    assert message["reasoning_content"] == REASONING


def test_an_answer_without_a_marker_is_the_last_step() -> None:
    pair = Pair(target={"script": [*RIGHT[:2], "So it is 3.70."]})
    for stream in (False, True):
        found = answer(asked(stream=stream), pair)
        if stream:
            assert found.said("content") == "So it is 3.70."
            assert found.said("reasoning") == REASONING
        else:
            message = found.json["choices"][0]["message"]
            assert (message["content"], message["reasoning"]) == ("So it is 3.70.", REASONING)
            assert found.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 6


def test_an_answer_of_several_steps_is_sent_whole() -> None:
    found = answer(asked(stream=True), options=RunOptions(method="token-sd"))
    assert found.said("content") == "3.70"


def test_earlier_messages_reach_the_engine() -> None:
    seen: list[Context] = []

    def script(context: Context) -> str:
        seen.append(context)
        return "".join(RIGHT[len(context.prefix) :])

    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "And tea?"},
        {"role": "assistant", "content": "2.50", "reasoning_content": "dropped"},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
    ]
    body = {"model": "dreamr", "messages": turns, "dreamr": {"method": "target"}}
    assert answer(body, Pair(target={"script": script})).status == 200
    said = [(turn.role, turn.parts) for turn in seen[0].conversation.turns]
    assert said == [
        ("system", (Text("Be brief."),)),
        ("user", (Text("And tea?"),)),
        ("assistant", (Text("2.50"),)),
        ("user", (Text(QUESTION),)),
    ]


# Disconnects and queuing


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_disconnects_frees_both_lanes(stream: bool) -> None:
    pair = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})

    async def work(gate: Gateway) -> None:
        leave = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: gate.ask(asked(stream=stream), leave=leave))
            while gate.open_streams < 2:
                await anyio.lowlevel.checkpoint()
            leave.set()
        assert gate.open_streams == 0
        figures = (await gate.get("/metrics")).body.decode()
        assert 'dreamr:request_failure_total{status="499"} 1.0' in figures
        assert "dreamr:num_requests_running 0.0" in figures

    use(work, pair)


def test_a_client_that_disconnects_while_waiting_frees_its_place() -> None:
    pair = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})

    async def work(gate: Gateway) -> None:
        first, second = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: gate.ask(asked(), leave=first))
            while gate.open_streams < 2:
                await anyio.lowlevel.checkpoint()
            tasks.start_soon(lambda: gate.ask(asked(), leave=second))
            while b"waiting 1.0" not in (await gate.get("/metrics")).body:
                await anyio.lowlevel.checkpoint()
            second.set()
            while b"waiting 0.0" not in (await gate.get("/metrics")).body:
                await anyio.lowlevel.checkpoint()
            first.set()

    use(work, pair, max_running=1)


def test_a_full_queue_says_when_to_retry() -> None:
    pair = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})

    async def work(gate: Gateway) -> None:
        leave = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: gate.ask(asked(), leave=leave))
            while gate.open_streams < 2:
                await anyio.lowlevel.checkpoint()
            for stream in (False, True):
                found = await gate.ask(asked(stream=stream))
                assert found.status == 429
                assert int(found.headers["retry-after"]) >= 1
                assert found.json["error"]["type"] == "rate_limit_error"
            leave.set()

    use(work, pair, max_running=1, max_waiting=0)


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
            scopes[0].deadline = anyio.current_time()

    async def work(gate: Gateway) -> Answer:
        monkeypatch.setattr(anyio, "move_on_after", noted)
        body = asked(stream=True, dreamr={"method": "target", "deadline": 99})
        return await gate.ask(body, heard=heard)

    found = use(work, pair)
    assert found.status == 200
    assert found.said("reasoning").startswith(RIGHT[0])
    assert found.chunks[-1]["error"]["code"] == "deadline_exceeded"


def test_interleaved_conversations_never_meet() -> None:
    def own(context: Context) -> str:
        [part] = context.conversation.turns[-1].parts
        assert isinstance(part, Text)
        return "".join([f"{part.text} one.\n\n", f"{part.text} two.\n\n", f"Answer: {part.text}"][
            len(context.prefix) :
        ])  # fmt: skip

    pair = Pair(
        target={"script": own, "opinion": 1.0, "token_seconds": 0.001}, draft={"script": own}
    )

    async def work(gate: Gateway) -> None:
        found: dict[int, Answer] = {}

        async def one(number: int) -> None:
            found[number] = await gate.ask(asked(f"q{number}", stream=number % 2 == 0))

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(one, number)
        for number, got in found.items():
            text = got.body.decode()
            assert f'"q{number} one.' in text
            others = (f'"q{other} one.' for other in range(40) if other != number)
            assert not any(other in text for other in others)
            assert (got.said("content") if number % 2 == 0 else got.json["choices"][0]["message"][
                "content"
            ]) == f"q{number}"  # fmt: skip

    use(work, pair, max_running=16)


# Failures of engines


def test_a_lost_draft_does_not_lose_the_answer() -> None:
    pair = Pair(draft={"stream_failures": {0: Failure(EngineLost("gone"))}})

    async def work(gate: Gateway) -> None:
        pair.errors["draft"] = EngineLost("gone for good")
        for level in ("full", "target_alone"):
            found = await gate.ask(asked())
            assert found.json["choices"][0]["message"]["content"] == "3.70"
            assert found.json["dreamr"]["level"] == level
        ready = await gate.get("/ready")
        assert (ready.status, ready.json["status"]) == (200, "degraded")
        assert not ready.json["pairs"]["dreamr"]["models"]["draft"]["ready"]
        assert (
            'dreamr:engine_up{model_name="dreamr",role="draft"} 0.0'
            in (await gate.get("/metrics")).body.decode()
        )

    use(work, pair)


@pytest.mark.parametrize("stream", [True, False])
def test_a_lost_target_is_an_error_with_the_committed_steps(stream: bool) -> None:
    lost = Failure(EngineLost("the server went away"), tokens=4)
    pair = Pair(target={"stream_failures": {0: lost}})

    async def work(gate: Gateway) -> None:
        pair.errors["target"] = EngineLost("gone for good")
        found = await gate.ask(asked(stream=stream, dreamr={"method": "target"}))
        if stream:
            assert found.said("reasoning") == RIGHT[0]
            error = found.chunks[-1]
        else:
            assert found.status == 503
            assert found.headers["retry-after"] == "1"
            error = found.json
        assert error["error"]["code"] == "engine_lost"
        assert "the server went away" in error["error"]["message"]
        assert [step["source"] for step in error["dreamr"]["steps"]] == ["target"]
        assert (await gate.get("/health")).status == 200, "the process lives"
        ready = await gate.get("/ready")
        assert (ready.status, ready.json["status"]) == (503, "lost")

    use(work, pair)


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_is_the_clients_error(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = ContextTooLong("the question needs 9000 tokens, the context holds 640")

    async def work(gate: Gateway) -> Answer:
        async def count(_: Any) -> int:
            raise full

        gate.pair.opened["target"].count = count  # type: ignore[method-assign]
        return await gate.ask(asked(stream=stream, dreamr={"method": "target"}))

    found = use(work, Pair(target={"stream_failures": {0: Failure(full)}}))
    assert found.status == 400
    assert found.json["error"]["code"] == "context_length_exceeded"


def test_a_bug_in_an_engine_is_a_bad_gateway() -> None:
    def broken(context: Context) -> str:
        raise RuntimeError("broken")

    found = answer(asked(dreamr={"method": "target"}), Pair(target={"script": broken}))
    assert found.status == 502
    assert found.json["error"]["code"] == "engine_failed"


def test_an_unexpected_error_is_a_500_without_details() -> None:
    found = api_error(RuntimeError("secret"))
    assert found.status == 500
    assert "secret" not in json.dumps(found.body)


# Access


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"content_length": "999999999999"}, 413),
        ({"host": "evil.example"}, 400),
    ],
)
def test_requests_that_other_web_pages_could_send_are_refused(
    headers: dict[str, str], status: int
) -> None:
    assert use(lambda gate: gate.ask(asked(), **headers)).status == status


def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    read = 0

    def pieces() -> Any:
        nonlocal read
        for _ in range(200_000):
            read += 1000
            yield b"x" * 1000

    found = use(lambda gate: gate.ask(pieces=pieces()), max_body=5000)
    assert found.status == 413
    assert read <= 8000


def test_a_body_that_does_not_arrive_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_body, "BODY_SECONDS", 0.01)

    async def nothing() -> Any:
        await anyio.sleep_forever()

    assert use(lambda gate: gate.ask(receive=nothing)).status == 408


def test_a_client_that_disconnects_before_its_body_arrives_is_counted() -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def work(gate: Gateway) -> bytes:
        answer = await gate.ask(receive=gone)
        assert answer.status == 0
        return (await gate.get("/metrics")).body

    assert b'status="499"} 1.0' in use(work)


def test_keys_are_required_and_never_logged(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "keys"
    file.write_text("# who\nsk-one\nsk-two\n")

    async def work(gate: Gateway) -> None:
        for headers in ({}, {"authorization": "Bearer sk-three"}, {"authorization": "sk-one"}):
            for found in (
                await gate.ask(asked(), **headers),
                await gate.get("/v1/models", **headers),
            ):
                assert found.status == 401
                assert found.json["error"]["code"] == "invalid_api_key"
        for key in ("sk-one", "sk-two"):
            found = await gate.ask(asked(), authorization=f"Bearer {key}")
            assert found.status == 200
        assert (await gate.get("/health")).status == 200

    use(work, keys_file=str(file))
    assert "refused with 401" in caplog.text
    assert "sk-" not in caplog.text


def test_texts_are_logged_only_with_log_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    answer(asked())
    answer(asked([{"type": "image_url", "image_url": {"url": "secret"}}]))
    assert "200 in" in caplog.text
    assert "tea" not in caplog.text.lower()
    assert "secret" not in caplog.text
    answer(asked(), log_text=True)
    assert QUESTION in caplog.text


def test_other_origins_are_allowed_by_name_only() -> None:
    async def work(gate: Gateway) -> list[str | None]:
        return [
            (await gate.get("/v1/models", origin=origin)).headers.get("access-control-allow-origin")
            for origin in ("https://mine.example", "https://other.example")
        ]

    assert use(work, allowed_origins="https://mine.example") == ["https://mine.example", None]
    assert use(work) == [None, None]


# Other endpoints


def test_the_model_is_listed_with_its_pair() -> None:
    async def work(gate: Gateway) -> None:
        listed = await gate.get("/v1/models")
        card, *_ = listed.json["data"]
        assert card["id"] == "mine"
        assert card["dreamr"]["target"] == "target"
        assert (await gate.get("/v1/models/mine")).json == card
        assert (await gate.get("/v1/models/other")).status == 404
        body = {**asked(), "model": "other"}
        found = await gate.ask(body)
        assert (found.status, found.json["error"]["code"]) == (404, "model_not_found")

    use(work, served_model_name="mine")


def test_metrics_count_steps_that_the_draft_judged_itself_as_unverified() -> None:
    async def work(gate: Gateway) -> str:
        await gate.ask(asked())
        return (await gate.get("/metrics")).body.decode()

    options = RunOptions(gate="draft-first", draft_confidence=0.9, deterministic=True)
    assert 'dreamr:steps_total{fate="unverified",model_name="dreamr"}' in use(work, options=options)


def test_metrics_count_tokens_and_steps_by_fate() -> None:
    async def work(gate: Gateway) -> str:
        await gate.ask(asked())
        await gate.ask(asked(stream=True, stream_options={"include_usage": True}))
        return (await gate.get("/metrics")).body.decode()

    figures = use(work)
    for line in (
        'dreamr:request_success_total{finished_reason="stop",model_name="dreamr"} 2.0',
        'dreamr:prompt_tokens_total{model_name="dreamr"} 14.0',
        'dreamr:generation_tokens_total{model_name="dreamr"} 16.0',
        'dreamr:spec_decode_num_accepted_tokens_total{model_name="dreamr"} 6.0',
        'dreamr:steps_total{fate="accepted",model_name="dreamr"} 2.0',
        'dreamr:steps_total{fate="rejected",model_name="dreamr"} 2.0',
        'dreamr:steps_total{fate="target",model_name="dreamr"} 4.0',
        'dreamr:time_to_first_token_seconds_count{model_name="dreamr"} 2.0',
        "dreamr:num_requests_running 0.0",
    ):
        assert line in figures, line


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/no", "GET", 404), ("/v1/chat/completions", "GET", 405)]
)
def test_other_paths_get_errors_in_the_same_format(path: str, method: str, status: int) -> None:
    found = use(lambda gate: gate.ask(b"", path, method))
    assert found.status == status
    assert found.json["error"]["type"] == "invalid_request_error"
