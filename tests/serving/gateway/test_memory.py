from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Conversation, Image
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.memory import FREE_BYTES, Budget, Memory, Retention
from support.gateways import use

MEGABYTE = 2**20


def memory(**more: int) -> Memory:
    return Memory(**{"body_bytes": 4 * MEGABYTE, "body_most": MEGABYTE, "pixels": 100, **more})


def test_those_who_wait_for_a_part_of_a_budget_are_served_in_order() -> None:
    async def main() -> list[str]:
        budget, served = Budget(10), list[str]()

        async def wait(name: str, amount: int) -> None:
            await budget.wait(amount)
            served.append(name)

        await budget.wait(8)
        async with anyio.create_task_group() as tasks:
            for name, amount in (("large", 9), ("small", 1)):
                tasks.start_soon(wait, name, amount)
                await anyio.wait_all_tasks_blocked()
            assert not budget.take(1)  # after those who wait
            budget.give(8)
        assert budget.used == 10
        return served

    assert anyio.run(main) == ["large", "small"]


def test_one_who_stops_waiting_takes_nothing() -> None:
    async def main() -> None:
        budget = Budget(10)
        await budget.wait(10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(budget.wait, 9)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        budget.give(10)
        assert budget.used == 0
        assert budget.take(10)

    anyio.run(main)


def test_small_bodies_are_read_while_large_ones_take_all_memory() -> None:
    shared = memory()
    with shared.lease("a") as first, shared.lease("b") as second, shared.lease("c") as third:
        first.take_body(2 * MEGABYTE + FREE_BYTES)
        second.take_body(2 * MEGABYTE + FREE_BYTES)
        third.take_body(FREE_BYTES)
        with pytest.raises(ApiError) as caught:
            third.take_body(1)
        assert caught.value.status == 503
        assert caught.value.headers["Retry-After"]
        second.give_body()
        third.take_body(1)
    assert shared.bodies.used == 0


def test_one_client_does_not_take_all_memory() -> None:
    shared = memory()
    with shared.lease("a") as first, shared.lease("a") as second, shared.lease("b") as other:
        first.take_body(2 * MEGABYTE)
        with pytest.raises(ApiError):
            second.take_body(MEGABYTE)
        other.take_body(2 * MEGABYTE)


def test_a_body_of_the_largest_size_is_read_if_the_memory_holds_only_one() -> None:
    with memory(body_bytes=MEGABYTE).lease("a") as lease:
        lease.take_body(MEGABYTE)


def test_pixels_are_held_until_the_request_ends() -> None:
    async def main() -> None:
        shared = memory()
        with shared.lease("a") as lease:
            await lease.take_pixels(70)
            lease.give_body()
            assert shared.pixels.used == 70
            with pytest.raises(ApiError, match="send fewer or smaller images"):
                await lease.take_pixels(101)
        assert shared.pixels.used == 0

    anyio.run(main)


def question(number: int, side: int = 10) -> Conversation:
    image = Image(bytes([number]) * (3 * side * side), side, side)
    return Conversation.from_prompt("How many?", image)


def test_the_latest_finished_conversations_with_images_are_kept() -> None:
    async def work(gate: object) -> None:
        forgotten = list[tuple[str, Conversation]]()
        reasoner = gate.reasoner  # type: ignore[attr-defined]
        for role, engine in gate.pair.opened.items():  # type: ignore[attr-defined]
            engine.forget = lambda one, role=role: forgotten.append((role, one))
        kept = Retention(reasoner, most=700)
        with kept.running(question(0)), kept.running(question(1)), kept.running(question(2)):
            assert not forgotten  # more than may be kept, but in use
        assert {one for _, one in forgotten} == {question(2)}
        with kept.running(question(1)):  # is now the latest
            pass
        with kept.running(question(3)), kept.running(Conversation.from_prompt("text")):
            pass
        assert {one for _, one in forgotten} == {question(2), question(0)}
        assert {role for role, _ in forgotten} == {"target", "draft"}

    use(work)


def test_a_conversation_is_not_forgotten_while_another_run_uses_it() -> None:
    async def work(gate: object) -> None:
        forgotten = list[Conversation]()
        for engine in gate.pair.opened.values():  # type: ignore[attr-defined]
            engine.forget = forgotten.append
        kept = Retention(gate.reasoner, most=0)  # type: ignore[attr-defined]
        with kept.running(question(1)):
            with kept.running(question(1)):
                pass
            assert not forgotten
        assert set(forgotten) == {question(1)}

    use(work)


def test_an_image_of_several_finished_conversations_counts_once() -> None:
    async def work(gate: object) -> None:
        forgotten = list[Conversation]()
        for engine in gate.pair.opened.values():  # type: ignore[attr-defined]
            engine.forget = forgotten.append
        kept = Retention(gate.reasoner, most=700)  # type: ignore[attr-defined]
        image = Image(bytes([7]) * 300, 10, 10)
        talks = [Conversation.from_prompt(f"Question {number}?", image) for number in range(9)]
        for talk in talks:
            with kept.running(talk):
                pass
        assert not forgotten
        with kept.running(question(1)), kept.running(question(2)):
            pass
        assert set(forgotten) == set(talks)

    use(work)


def test_a_conversation_that_changes_is_forgotten_under_its_last_name() -> None:
    async def work(gate: object) -> None:
        forgotten = list[Conversation]()
        for engine in gate.pair.opened.values():  # type: ignore[attr-defined]
            engine.forget = forgotten.append
        kept = Retention(gate.reasoner, most=0)  # type: ignore[attr-defined]
        with kept.running(question(1)), kept.running(question(1)) as changed:
            changed(question(2))
            with kept.running(question(2)):
                pass
            assert not forgotten
        assert set(forgotten) == {question(1), question(2)}

    use(work)
