"""A lost model is opened again, while calls wait, fail clearly or go on without it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from dreamr.engines import Capabilities, Model, ModelSource, ScriptedEngine
from dreamr.engines.model_set import ModelSet, ReopenPolicy
from dreamr.errors import EngineLost
from dreamr.steps import Role

AT_ONCE = ReopenPolicy(first=0.0)
NEVER = ReopenPolicy(first=1e6, longest=1e6)


class Opener:
    """Opens scripted models; `outcomes` are the names or errors of the openings, in order."""

    def __init__(self, *outcomes: str | Exception) -> None:
        self.outcomes = list(outcomes)
        self.engines: list[ScriptedEngine] = []
        self.attempts = 0
        self.allowed = anyio.Event()
        self.allowed.set()

    async def __call__(self, source: ModelSource) -> Model:
        self.attempts += 1
        await self.allowed.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else "model"
        if isinstance(outcome, Exception):
            raise outcome
        self.engines.append(ScriptedEngine(name=outcome))
        return Model(self.engines[-1])


async def settle() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def with_models(
    opener: Opener,
    work: Callable[[ModelSet], Awaitable[None]],
    policy: ReopenPolicy = AT_ONCE,
    roles: tuple[Role, ...] = ("target",),
) -> None:
    models = ModelSet(opener, policy)
    with anyio.fail_after(20):
        for role in roles:
            await models.open(ModelSource(role=role))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(models.supervise)
            await work(models)
            tasks.cancel_scope.cancel()
        await models.aclose()
    assert not any(engine.alive for engine in opener.engines), "a model was left open"


def play(
    opener: Callable[[], Opener],
    work: Callable[[ModelSet, Opener], Awaitable[None]],
    policy: ReopenPolicy = AT_ONCE,
    roles: tuple[Role, ...] = ("target",),
) -> Opener:
    async def main() -> Opener:
        made = opener()
        await with_models(made, lambda models: work(models, made), policy, roles)
        return made

    return anyio.run(main)


def test_a_call_waits_until_a_lost_model_is_open_again() -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        first = models["target"].engine
        await first.aclose()
        assert models.lost == ("target",)
        async with models.lease(["target"]) as leased:
            assert leased["target"].engine is not first
            assert leased["target"].engine.alive
        assert not models.lost

    assert play(Opener, work).attempts == 2


def test_a_model_that_is_lost_while_idle_is_opened_again() -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        await models["target"].engine.aclose()
        while models.lost:
            await anyio.sleep(0.01)

    assert play(Opener, work).attempts == 2


def test_calls_that_do_not_need_the_lost_model_do_not_wait() -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        opener.allowed = anyio.Event()
        await models["draft"].engine.aclose()
        async with models.lease(["target"]) as leased:
            assert not leased["draft"].engine.alive
        await settle()
        assert models.retry_after("draft") == 0.0
        assert models.retry_after("target") is None

    play(Opener, work, roles=("draft", "target"))


def test_many_calls_lead_to_one_attempt() -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        opener.allowed = anyio.Event()
        await models["target"].engine.aclose()

        async def call() -> None:
            async with models.lease(["target"]):
                await settle()

        async with anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(call)
            await settle()
            opener.allowed.set()

    assert play(Opener, work).attempts == 2


def test_calls_fail_with_the_cause_and_a_time_while_no_attempt_is_in_progress() -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        await models["target"].engine.aclose()
        with pytest.raises(EngineLost, match=r"the target is lost.*no memory") as caught:
            async with models.lease(["target"]):
                pytest.fail("the target is lost")
        assert caught.value.retry_after is not None
        assert 5e5 - 9 < caught.value.retry_after <= 1e6
        assert models.retry_after("target") == pytest.approx(caught.value.retry_after, abs=9)

    play(lambda: Opener("model", EngineLost("no memory")), work, NEVER)


def test_attempts_go_on_until_one_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        await models["target"].engine.aclose()
        async with models.lease(["target"]):
            pass

    failures = [EngineLost("down"), OSError("no process"), ValueError("a bug")]
    with caplog.at_level(logging.INFO, "dreamr.engines"):
        opener = play(lambda: Opener("model", *failures), work)
    assert opener.attempts == 5
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "target lost: model"
    assert sum("opening the target again" in line for line in lines) == 4
    assert sum("failed" in line for line in lines) == 3
    assert lines[-1] == "target is available again"


def test_another_model_at_the_same_place_is_refused() -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        await models["target"].engine.aclose()
        with pytest.raises(EngineLost, match="found other instead of model"):
            async with models.lease(["target"]):
                pytest.fail("the target is another model")

    play(lambda: Opener("model", "other"), work, NEVER)


class Away(ScriptedEngine):
    """A server that cannot be reached for a moment."""

    reachable = True

    @property
    def alive(self) -> bool:
        return self.reachable and self._lost is None


def test_a_call_does_not_wait_for_a_model_that_is_reached_again_at_once() -> None:
    async def main() -> None:
        engine = Away()

        async def open_one(source: ModelSource) -> Model:
            return Model(engine)

        async def call() -> None:
            async with models.lease(["target"]) as leased:
                assert leased["target"].engine is engine

        async def come_back() -> None:
            engine.reachable = True

        models = ModelSet(open_one, AT_ONCE)
        await models.open(ModelSource(role="target"))
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(models.supervise)
                await settle()
                engine.reachable = False
                async with anyio.create_task_group() as calls:
                    calls.start_soon(call)
                    calls.start_soon(come_back)  # before the model is looked at
                tasks.cancel_scope.cancel()
        await models.aclose()

    anyio.run(main)


def test_a_replaced_model_stays_open_until_its_last_user_is_done() -> None:
    async def main() -> None:
        engines: list[Away] = []

        async def open_one(source: ModelSource) -> Model:
            engines.append(Away())
            return Model(engines[-1])

        models = ModelSet(open_one, AT_ONCE)
        await models.open(ModelSource(role="target"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(models.supervise)
            async with models.lease(["target"]) as leased:
                first = leased["target"].engine
                assert first is engines[0]
                engines[0].reachable = False
                async with models.lease(["target"]) as later:
                    assert later["target"].engine is engines[1]
                engines[0].reachable = True
                assert first.alive, "closed while a run uses it"
            assert not first.alive
            tasks.cancel_scope.cancel()
        await models.aclose()

    anyio.run(main)


def test_a_model_that_is_lost_again_and_again_is_opened_ever_more_slowly() -> None:
    async def work(models: ModelSet, opener: Opener) -> None:
        await models["target"].engine.aclose()
        async with models.lease(["target"]):
            pass
        await models["target"].engine.aclose()
        with pytest.raises(EngineLost):
            async with models.lease(["target"]):
                pytest.fail("the second attempt has to wait")

    assert play(Opener, work, NEVER).attempts == 2


def test_pauses_grow_up_to_a_bound() -> None:
    policy = ReopenPolicy(first=0.5, longest=60.0)
    assert policy.pause(0) == 0.0
    for attempts in range(1, 200):
        whole = min(60.0, 0.5 * 2 ** (attempts - 1))
        assert whole / 2 <= policy.pause(attempts) <= whole


def test_without_supervision_a_lost_model_fails_at_once() -> None:
    async def main() -> None:
        models = ModelSet(Opener(), None)
        await models.open(ModelSource(role="target"))
        await models["target"].engine.aclose()
        with pytest.raises(EngineLost, match="the target is lost"):
            async with models.lease(["target"]):
                pytest.fail("the target is lost")
        assert models.retry_after("target") is None
        assert await models.lose() == "target"

    anyio.run(main)


@pytest.mark.parametrize(
    ("target", "draft", "found"),
    [(5, 9, 9), (9, 5, 9), (None, 5, None), (5, None, None), (None, None, None)],
)
def test_images_are_as_large_as_the_more_demanding_model_needs(
    target: int | None, draft: int | None, found: int | None
) -> None:
    pixels = {"target": target, "draft": draft}

    async def opener(source: ModelSource) -> Model:
        capabilities = Capabilities(image_pixels=pixels[source.role])
        return Model(ScriptedEngine(name=source.role, capabilities=capabilities))

    async def main() -> int | None:
        models = ModelSet(opener, None)
        assert models.image_pixels is None
        for role in ("target", "draft"):
            await models.open(ModelSource(role=role))
        try:
            return models.image_pixels
        finally:
            await models.aclose()

    assert anyio.run(main) == found
