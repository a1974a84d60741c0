"""Failures of engines during a request: an answer without the draft, or an error that says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dreamr.engines import Context, Failure
from dreamr.errors import ContextTooLong, EngineLost
from dreamr.serving.gateway.errors import api_error
from support.gateways import Answer, Gateway, answer, asked, use
from support.pairs import RIGHT, Pair


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
