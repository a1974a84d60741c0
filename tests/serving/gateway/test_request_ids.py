"""Every response has an id, which the log, the trace and the model servers know too."""

from __future__ import annotations

import logging
import re
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.engines import Model, ModelSource, ScriptedEngine
from dreamr.engines.call_labels import call_labels
from dreamr.serving.gateway.request_ids import RequestIds, request_id
from support.gateways import Answer, Gateway, app_of, asked, gateway, use
from support.pairs import RIGHT, Pair

OWN = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/v1/chat/completions", "POST", asked(), 200),
        ("/v1/chat/completions", "POST", asked(stream=True), 200),
        ("/v1/chat/completions", "POST", asked(n=99), 400),
        ("/v1/chat/completions", "POST", b"{", 400),
        ("/v1/chat/completions", "GET", b"", 405),
        ("/v1/models", "GET", b"", 200),
        ("/none", "GET", b"", 404),
        ("/health", "GET", b"", 200),
        ("/", "GET", b"", 200),
    ],
)
def test_every_response_has_an_id(path: str, method: str, body: object, status: int) -> None:
    async def work(gate: Gateway) -> None:
        new = await gate.ask(body, path, method)  # type: ignore[arg-type]
        assert new.status == status
        assert OWN.fullmatch(new.headers["x-request-id"])
        chosen = await gate.ask(body, path, method, x_request_id="team-7:42")  # type: ignore[arg-type]
        assert chosen.headers["x-request-id"] == "team-7:42"

    use(work)


def test_a_request_that_is_refused_at_the_host_has_an_id_too() -> None:
    async def work(gate: Gateway) -> None:
        found = await gate.get("/health", host="evil.example")
        assert found.status == 400
        assert OWN.fullmatch(found.headers["x-request-id"])

    use(work)


def test_an_internal_error_has_an_id_and_the_usual_form(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(gate: Gateway) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("/srv/secret is broken")

        monkeypatch.setattr("dreamr.serving.gateway.metrics.Metrics.text", broken)
        heard = []
        with pytest.raises(RuntimeError):  # the server logs it
            await gate.ask(b"", "/metrics", "GET", heard=heard.append)
        answer = heard[-1]
        assert OWN.fullmatch(answer.headers["x-request-id"])
        assert answer.json["error"]["message"] == "internal error; see the server's log"

    use(work)


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_an_id_that_is_not_safe_is_replaced(given_id: str) -> None:
    seen: list[str | None] = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(request_id())

    scope = {"type": "http", "headers": [(b"x-request-id", given_id.encode("latin-1"))]}
    anyio.run(RequestIds(app), scope, None, None)
    (found,) = seen
    assert found is not None
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:+/=-]*", found)
    assert len(found) <= 128
    assert request_id() is None


def traced(answer: Answer) -> str:
    """Return the id in the trace of a streamed answer."""
    (start,) = (
        event
        for chunk in answer.chunks
        if (event := chunk.get("dreamr", {}).get("event", {})).get("event") == "RunStarted"
    )
    return str(start["options"]["request_id"])


def test_the_trace_and_the_log_have_the_id(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str | None] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(request_id())

    async def work(gate: Gateway) -> None:
        log = logging.getLogger("dreamr.serving.gateway")
        handler = Handler()
        log.addHandler(handler)
        try:
            body = asked(stream=True, dreamr={"events": True})
            found = await gate.ask(body, x_request_id="mine")
        finally:
            log.removeHandler(handler)
        assert traced(found) == "mine"

    with caplog.at_level(logging.INFO):
        use(work)
    assert seen == ["mine"]


def test_concurrent_requests_keep_their_ids() -> None:
    async def main() -> None:
        found: dict[str, str] = {}
        pair = Pair(target={"token_seconds": 0.001}, draft={"token_seconds": 0.001})
        async with gateway(pair) as gate, anyio.create_task_group() as tasks:

            async def ask(name: str) -> None:
                body = asked(stream=True, dreamr={"events": True})
                answer = await gate.ask(body, x_request_id=name)
                found[name] = traced(answer)

            for number in range(8):
                tasks.start_soon(ask, f"id{number}")
        assert found == {name: name for name in found}
        assert len(found) == 8

    anyio.run(main)


def test_the_session_that_a_client_names_reaches_the_models() -> None:
    seen: list[str | None] = []

    class Noting(ScriptedEngine):
        def stream(self, *call: Any, **more: Any) -> Any:
            seen.append(call_labels().session)
            return super().stream(*call, **more)

    async def open_model(source: ModelSource) -> Model:
        return Model(Noting(script=RIGHT, opinion=dict.fromkeys(RIGHT, 0.93)))

    async def work() -> None:
        options = RunOptions(method="target")
        async with Reasoner(options, open_model=open_model) as reasoner:
            gate = Gateway(app_of(reasoner), reasoner, Pair(), Load(aware=False))
            assert (await gate.ask(asked(), x_session_id="chat 7")).status == 200
            assert set(seen) == {"chat 7"}
            seen.clear()
            assert (await gate.ask(asked())).status == 200
            assert set(seen) == {None}

    anyio.run(work)
