"""Local models are opened once for several users, and closed with the last one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import Conversation
from dreamr.engines import (
    AnsweringEngine,
    AnswersInForm,
    Context,
    Engine,
    Model,
    ModelSource,
    SamplingParams,
    ScriptedEngine,
)
from dreamr.engines.shared import SharedModels
from dreamr.errors import EngineLost

BIG = ModelSource(role="target", name="org/big")


class Opener:
    """Opens scripted models, and remembers them."""

    def __init__(self, kind: type[ScriptedEngine] = ScriptedEngine) -> None:
        self.kind, self.opened = kind, list[Engine]()

    async def __call__(self, source: ModelSource) -> Model:
        await anyio.sleep(0)
        self.opened.append(self.kind(name=source.name or "", script=("A step.\n\n", "Answer: 4")))
        return Model(self.opened[-1])

    @property
    def alive(self) -> list[bool]:
        return [engine.alive for engine in self.opened]


async def all_of(calls: Sequence[Callable[[], Awaitable[Model]]]) -> list[Model]:
    """Open models side by side."""
    found: list[Model] = []

    async def one(call: Callable[[], Awaitable[Model]]) -> None:
        found.append(await call())

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(one, call)
    return found


def test_a_model_of_two_roles_is_opened_once_and_closed_with_its_last_user() -> None:
    opener = Opener()
    shared = SharedModels(opener)
    draft = ModelSource(role="draft", name="org/big")

    async def main() -> None:
        first, second = await all_of([lambda: shared(BIG), lambda: shared(draft)])
        assert opener.alive == [True]
        await first.engine.aclose()
        await first.engine.aclose()
        assert (first.engine.alive, second.engine.alive) == (False, True)
        with pytest.raises(EngineLost):
            await first.engine.check()
        context = Context(Conversation.from_prompt("What is 2 + 2?"))
        text = "".join([one.text async for one in second.engine.stream(context, SamplingParams())])
        assert text == "A step.\n\nAnswer: 4"
        await second.engine.aclose()
        assert opener.alive == [False]

    anyio.run(main)


@pytest.mark.parametrize(
    "other",
    [
        ModelSource(role="target", name="org/big", judge_prompt="Is it right?"),
        ModelSource(role="target", name="org/big", device="cuda:1"),
        ModelSource(role="target", name="org/small"),
    ],
)
def test_models_that_are_opened_in_another_way_are_not_shared(other: ModelSource) -> None:
    opener = Opener()
    shared = SharedModels(opener)
    anyio.run(all_of, [lambda: shared(BIG), lambda: shared(other)])
    assert opener.alive == [True, True]


def test_each_user_of_a_server_is_a_client_of_its_own() -> None:
    opener = Opener()
    shared = SharedModels(opener)
    server = ModelSource(role="target", name="http://gpu1:8000/v1")
    anyio.run(all_of, [lambda: shared(server)] * 2)
    assert len(opener.opened) == 2


def test_a_lost_model_is_opened_again_once_for_all() -> None:
    opener = Opener()
    shared = SharedModels(opener)

    async def main() -> None:
        users = await all_of([lambda: shared(BIG)] * 2)
        await opener.opened[0].aclose()  # as its process dies
        assert not any(user.engine.alive for user in users)
        again = await all_of([lambda: shared(BIG)] * 2)
        assert opener.alive == [False, True]
        for user in users:
            await user.engine.aclose()
        assert all(user.engine.alive for user in again)

    anyio.run(main)


def test_a_model_that_cannot_be_opened_is_tried_by_each_user() -> None:
    opener, tries = Opener(), []

    async def fails_once(source: ModelSource) -> Model:
        tries.append(source)
        if len(tries) == 1:
            raise EngineLost("no memory")
        return await opener(source)

    async def main() -> None:
        shared = SharedModels(fails_once)
        with pytest.raises(EngineLost, match="no memory"):
            await shared(BIG)
        assert (await shared(BIG)).engine.alive

    anyio.run(main)


@pytest.mark.parametrize("kind", [ScriptedEngine, AnsweringEngine])
def test_an_engine_that_writes_answers_in_a_form_still_does(kind: type[ScriptedEngine]) -> None:
    model = anyio.run(SharedModels(Opener(kind)), BIG)
    assert isinstance(model.engine, AnswersInForm) == isinstance(kind(), AnswersInForm)


@given(st.lists(st.integers(-1, 3), max_size=20))
def test_an_engine_is_open_while_it_has_a_user(actions: list[int]) -> None:
    opener = Opener()

    async def main() -> None:
        shared, users = SharedModels(opener), []
        for action in actions:
            if action < 0:
                users.append(await shared(BIG))
            elif users:
                await users.pop(action % len(users)).engine.aclose()
            assert sum(opener.alive) == bool(users)

    anyio.run(main)
