"""A server that changes under a running engine."""

from __future__ import annotations

import anyio
import httpx2
import pytest

from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.identity import Identity
from dreamr.engines.http.retries import TransientError
from dreamr.errors import EngineError, EngineLost, RunFailed
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import Note, Result
from support.scoring import Scoring
from support.served import Json, Served
from support.served_calls import TALK, use, written
from support.templated import Templated

SCRIPT = "Two and two.\n\nThat makes four.\n\nAnswer: 4"


def swap(served: Served) -> None:
    """Serve another model at the same address."""
    served.models, served.answers_as, served.script = ("other",), "other", "Nine.\n\nAnswer: 9"


def test_nothing_of_another_model_is_used() -> None:
    served = Served(script=SCRIPT, answers_as="tiny")

    async def work(engine: HttpEngine) -> None:
        swap(served)
        for _ in range(2):
            with pytest.raises(EngineLost, match=r"serves other now instead of tiny: serve the"):
                await written(engine)
            with pytest.raises(EngineLost, match="serves other now instead of tiny"):
                await engine.judge(Context(TALK), ["Two.\n\n"])
            assert not engine.alive
        served.models, served.answers_as, served.script = ("tiny",), "tiny", SCRIPT
        assert await written(engine) == SCRIPT
        assert engine.alive

    use(served, work)


def test_a_model_that_is_gone_from_several_is_named() -> None:
    served = Served(script=SCRIPT, answers_as="b", models=("a", "b"))

    async def work(engine: HttpEngine) -> None:
        served.models, served.answers_as = ("a", "c"), "c"
        with pytest.raises(EngineLost, match=r"b is gone: .* choose one of a, c"):
            await written(engine)

    use(served, work, model="b")


def test_another_model_in_the_middle_of_a_stream_adds_nothing() -> None:
    served = Served(script=SCRIPT, answers_as="tiny")

    async def work(engine: HttpEngine) -> None:
        stream = engine.stream(Context(TALK), SamplingParams())
        texts = [(await anext(stream)).text]
        swap(served)
        with pytest.raises(EngineLost, match="serves other now"):
            texts += [chunk.text async for chunk in stream]
        assert SCRIPT.startswith("".join(texts))

    use(served, work)


def test_another_name_of_the_same_model_is_accepted() -> None:
    served = Served(script=SCRIPT, answers_as="tiny")

    async def work(engine: HttpEngine) -> None:
        for name in ("tiny-2026-11", "tiny", "replica/tiny"):
            served.answers_as = name
            assert await written(engine) == SCRIPT
            await engine.judge(Context(TALK), ["Two.\n\n"])
        listed = [path for path, _ in served.requests if path == "/v1/models"]
        assert len(listed) == 3  # the probe's and one for each new name

    use(served, work)


def test_the_names_that_are_kept_have_a_bound() -> None:
    async def same() -> bool:
        return False

    async def main() -> None:
        identity, url = Identity(), "http://here"
        names = [f"tiny-{number}" for number in range(1000)]
        for name in names:
            identity.note({"model": name}, url)
        identity.settle(same)
        identity.note({"model": names[-1]}, url)
        with pytest.raises(TransientError, match="answered as tiny-0"):
            identity.note({"model": names[0]}, url)
        await identity.ensure()
        identity.note({"model": names[0]}, url)

    anyio.run(main)


def test_a_server_that_comes_back_is_looked_at_again(caplog: pytest.LogCaptureFixture) -> None:
    served = Served(script=SCRIPT, context=1024, breaks=[3])

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.context == 1024
        served.context = 256
        assert await written(engine) == SCRIPT
        assert engine.server_info.context == 256

    use(served, work)
    assert "now has a context of 256 tokens instead of 1024" in caplog.text


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.usefixtures("no_pauses")
def test_a_server_restarted_with_speculation_is_asked_for_other_tokens(noticed: bool) -> None:
    served = Scoring(script=SCRIPT, started=1000.0)

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.label_tokens
        served.started, served.chosen = 2000.5, 500
        if noticed:  # by a connection that breaks; else all were idle
            served.failures[:] = [httpx2.ReadError("gone")]
        [evidence] = await engine.judge(Context(TALK), ["Two.\n\n"])
        assert evidence.positive > evidence.negative
        assert not engine.server_info.label_tokens

    use(served, work)


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.usefixtures("no_pauses")
def test_a_server_restarted_without_an_endpoint_is_asked_by_another_one(seen: bool) -> None:
    served = Templated(script=SCRIPT, family="qwen3_vl_thinking", tokens=True, started=1000.0)

    async def work(engine: HttpEngine) -> None:
        assert engine.route_name(TALK) == "tokens"
        if seen:
            assert await written(engine) == SCRIPT
        served.tokens, served.disabled, served.started = False, 404, 2000.0
        await engine.judge(Context(TALK), ["Two.\n\n"])
        assert await written(engine) == SCRIPT
        assert engine.route_name(TALK) != "tokens"

    use(served, work)


@pytest.mark.usefixtures("no_pauses")
def test_a_server_that_was_not_restarted_is_not_probed_again() -> None:
    served = Scoring(script=SCRIPT, started=1000.0)

    async def work(engine: HttpEngine) -> None:
        before = engine.server_info
        served.failures[:] = [httpx2.ReadError("gone"), 500, 400]
        with pytest.raises(EngineError, match="status 400"):
            await written(engine)
        assert engine.server_info is before

    use(served, work)


def test_requests_at_the_same_time_lead_to_one_comparison() -> None:
    served = Served(script=SCRIPT, answers_as="tiny")

    async def work(engine: HttpEngine) -> None:
        served.failures[:] = [httpx2.ReadError("gone")] * 3
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(written, engine)
        assert sum(path == "/v1/models" for path, _ in served.requests) <= 1 + 3

    use(served, work)


def test_a_canceled_comparison_is_no_sign_of_another_server() -> None:
    started, compared = anyio.Event(), []

    async def check() -> bool:
        compared.append(started.is_set())
        if not started.is_set():
            started.set()
            await anyio.sleep_forever()
        return False

    async def main() -> None:
        identity = Identity()
        identity.settle(check)
        identity.doubt()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(identity.ensure)
            await started.wait()
            tasks.cancel_scope.cancel()
        assert identity.same
        await identity.ensure()
        assert compared == [False, True], "the sign was forgotten"
        assert identity.same

    anyio.run(main)


def test_a_run_goes_on_without_a_draft_that_became_another_model() -> None:
    target, draft = Served(script=SCRIPT), Served(script=SCRIPT, answers_as="tiny")

    async def work(engine: HttpEngine) -> Result:
        options = HttpOptions(url="http://draft")
        async with await HttpEngine.open(options, draft.transport) as small:
            swap(draft)
            waiting = RunConfig(options=ScheduleConfig(deterministic=True))
            return await run(TALK, target=engine, draft=small, config=waiting)

    result = use(target, work)
    assert result.answer == "4"
    assert {step.source for step in result.steps} == {"target"}
    [warned] = [event.message for event in result.events if isinstance(event, Note)]
    assert "serves other now instead of tiny: serve the same model again" in warned


def test_a_run_whose_target_became_another_model_keeps_its_steps() -> None:
    def said(body: Json) -> str:
        prefix = body["messages"][-1]["content"] if len(body["messages"]) > 1 else ""
        if prefix:
            swap(target)
        return SCRIPT[len(prefix) :]

    target = Served(answers_as="tiny", said=said)

    async def work(engine: HttpEngine) -> None:
        await run(TALK, target=engine, config=RunConfig(method="target"))

    with pytest.raises(RunFailed, match="serves other now instead of tiny") as failed:
        use(target, work, ahead=3)
    assert isinstance(failed.value.result, Result)
    assert failed.value.result.text == "Two and two.\n\n"
