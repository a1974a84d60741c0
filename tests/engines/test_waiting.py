"""Servers that are still starting are waited for, within a bound, with lines on the progress."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import anyio
import pytest

from dreamr._option_specs import BadOption
from dreamr.engines import Model, ModelSource, ScriptedEngine
from dreamr.engines.http.retries import TransientError
from dreamr.engines.waiting import WaitingOpener
from dreamr.errors import DreamrError, EngineError, EngineLost, ModelNotFound, Unsupported
from dreamr.gate import CascadeGate, DraftFirstGate, EntropyGate, Gate
from dreamr.runner import RunConfig, check_engines
from dreamr.steps import Role

URL = "http://gpu1:8000/v1"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamr.engines.waiting._PAUSE", 0.001)


def starting() -> EngineError:
    error = EngineLost("connection refused")
    error.__cause__ = TransientError(error)
    return error


def server(*outcomes: Exception | None) -> Callable[[ModelSource], Awaitable[Model]]:
    """A server that meets its clients with these errors, in order; None: it hangs."""
    left = list(outcomes)

    async def open_model(source: ModelSource) -> Model:
        if left:
            if (error := left.pop(0)) is None:
                await anyio.sleep_forever()
            assert error is not None
            raise error
        return Model(ScriptedEngine(name="model"))

    return open_model


def opened(
    open_model: Callable[[ModelSource], Awaitable[Model]],
    seconds: float,
    *,
    role: Role = "target",
    late: tuple[Role, ...] = ("draft",),
    name: str = URL,
) -> tuple[Model, list[str]]:
    lines: list[str] = []

    async def main() -> Model:
        opener = WaitingOpener(open_model, seconds, late, lines.append)
        with anyio.fail_after(20):
            return await opener(ModelSource(role=role, name=name))

    return anyio.run(main), lines


def test_a_server_that_comes_up_is_opened_and_the_wait_is_shown() -> None:
    model, lines = opened(server(starting(), starting()), 60)
    assert model.engine.name == "model"
    assert re.fullmatch(
        rf"waiting for the target at {URL}, \d of 60 s: connection refused", lines[0]
    )
    assert re.fullmatch(rf"the target at {URL} answered after \d s", lines[-1])


def test_a_server_that_is_up_is_opened_without_a_word() -> None:
    assert opened(server(), 60)[1] == []


def test_without_a_wait_the_error_names_the_option() -> None:
    with pytest.raises(EngineLost, match=r"connection refused.*--wait SECONDS"):
        opened(server(starting()), 0)


@pytest.mark.parametrize("outcomes", [[starting()] * 10_000, [None], [starting(), None]])
def test_the_wait_for_a_target_is_bounded(outcomes: list[Exception | None]) -> None:
    with pytest.raises(EngineLost, match=r"waited 0\.05 s"):
        opened(server(*outcomes), 0.05)


@pytest.mark.parametrize("seconds", [0.0, 60.0])
@pytest.mark.parametrize("kind", [ModelNotFound, Unsupported, BadOption])
def test_what_time_does_not_cure_fails_at_once(kind: type[DreamrError], seconds: float) -> None:
    with pytest.raises(kind, match=r"^no such model$"):
        opened(server(kind("no such model")), seconds)


def test_a_late_draft_counts_as_lost() -> None:
    model, lines = opened(server(*[starting()] * 10_000), 0.05, role="draft")
    assert not model.engine.alive
    assert URL in model.engine.name
    assert lines[-1].startswith("starting without the draft, which can join later: connection")

    async def call() -> None:
        with pytest.raises(EngineLost, match="not open yet"):
            await model.engine.check()

    anyio.run(call)


@pytest.mark.parametrize(
    "gate", [EntropyGate(), DraftFirstGate(), CascadeGate(draft_confidence=0.9)]
)
def test_a_late_draft_does_not_keep_a_gate_from_starting(gate: Gate) -> None:
    draft, _ = opened(server(*[starting()] * 10_000), 0.05, role="draft")
    check_engines(RunConfig(gate=gate), {"target": ScriptedEngine(), "draft": draft.engine})


def test_local_models_are_not_waited_for() -> None:
    with pytest.raises(EngineLost, match=r"^connection refused$"):
        opened(server(starting()), 60, name="./folder")


def test_only_the_first_opening_of_a_role_waits() -> None:
    async def main() -> None:
        opener = WaitingOpener(server(starting(), starting()), 60)
        source = ModelSource(role="target", name=URL)
        await opener(source)
        opener = WaitingOpener(server(*[starting()] * 10_000), 0.05, ("draft",))
        source = ModelSource(role="draft", name=URL)
        await opener(source)
        with pytest.raises(EngineLost, match=r"^connection refused$"):
            await opener(source)

    anyio.run(main)
