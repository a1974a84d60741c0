from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.serving.gateway.admission import Admission
from dreamr.serving.gateway.errors import ApiError


class Crowd:
    """Requests that hold a place until released."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.served: list[str] = []
        self.refused: list[str] = []
        self.gates: list[tuple[str, anyio.Event]] = []
        self.scopes: list[tuple[str, anyio.CancelScope]] = []

    async def come(self, client: str) -> None:
        scope, gate = anyio.CancelScope(), anyio.Event()
        self.scopes.append((client, scope))
        with scope:
            try:
                async with self.admission.place(client):
                    self.served.append(client)
                    self.gates.append((client, gate))
                    await gate.wait()
            except ApiError:
                self.refused.append(client)

    async def go(self, client: str | None = None) -> None:
        """Release the first served request (of a client)."""
        place = next(i for i, (name, _) in enumerate(self.gates) if client in (None, name))
        self.gates.pop(place)[1].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


def play(
    work: Callable[[Crowd, Callable[[str], Awaitable[None]]], Awaitable[None]],
    running: int,
    waiting: int,
) -> Crowd:
    async def main() -> Crowd:
        crowd = Crowd(Admission(running, waiting))
        async with anyio.create_task_group() as tasks:

            async def come(client: str) -> None:
                tasks.start_soon(crowd.come, client)
                await settle()

            await work(crowd, come)
            tasks.cancel_scope.cancel()
        assert crowd.admission.running == crowd.admission.waiting == 0
        return crowd

    return anyio.run(main)


def test_requests_over_the_limit_wait_in_order() -> None:
    async def work(crowd: Crowd, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "a", "a"):
            await come(client)
        assert (crowd.admission.running, crowd.admission.waiting) == (2, 1)
        await crowd.go()
        assert (crowd.admission.running, crowd.admission.waiting) == (2, 0)

    assert play(work, 2, 5).served == ["a", "a", "a"]


def test_a_client_with_many_requests_does_not_keep_others_waiting() -> None:
    async def work(crowd: Crowd, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "a", "a", "a", "b", "c"):
            await come(client)
        for _ in range(5):
            await crowd.go()

    assert set(play(work, 1, 9).served[1:4]) == {"a", "b", "c"}


def test_a_full_queue_makes_room_for_a_client_with_fewer_requests() -> None:
    async def work(crowd: Crowd, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "a", "a", "a"):
            await come(client)
        await come("b")
        assert crowd.refused == ["a"]
        await come("a")
        assert crowd.refused == ["a", "a"]

    play(work, 1, 3)


def test_a_client_that_disconnects_while_waiting_is_not_served() -> None:
    async def work(crowd: Crowd, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "b", "c"):
            await come(client)
        crowd.scopes[1][1].cancel()
        await settle()
        await crowd.go()

    assert play(work, 1, 5).served == ["a", "c"]


def test_without_a_queue_the_second_request_is_refused() -> None:
    async def work(crowd: Crowd, come: Callable[[str], Awaitable[None]]) -> None:
        await come("a")
        await come("b")

    assert play(work, 1, 0).refused == ["b"]


def test_retry_after_grows_with_the_queue() -> None:
    admission = Admission(1, 0)
    admission._seconds = 7.3
    assert admission._full().headers["Retry-After"] == "8"


MOVES = st.tuples(st.sampled_from(["come", "go", "leave"]), st.sampled_from("abc"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "go", "leave"]), st.sampled_from("abc")), max_size=40
    ),
    st.integers(1, 3),
    st.integers(0, 4),
)
def test_places_are_neither_lost_nor_given_twice(
    moves: list[tuple[str, str]], running: int, waiting: int
) -> None:
    async def work(crowd: Crowd, come: Callable[[str], Awaitable[None]]) -> None:
        for move, client in moves:
            if move == "come":
                await come(client)
            elif move == "go" and crowd.gates:
                await crowd.go()
            elif move == "leave" and crowd.scopes:
                _, scope = crowd.scopes.pop()
                scope.cancel()
                await settle()
            admission = crowd.admission
            assert admission.running <= running
            assert admission.waiting <= waiting
            assert admission.running == running or admission.waiting == 0

    crowd = play(work, running, waiting)
    came = sum(move == "come" for move, _ in moves)
    assert len(crowd.served) + len(crowd.refused) <= came
    assert not Counter(crowd.served) - Counter(c for m, c in moves if m == "come")


def test_the_error_has_the_format_of_openai() -> None:
    async def main() -> None:
        admission = Admission(1, 0)
        async with admission.place("a"), admission.place("b"):
            pytest.fail("two places")

    with pytest.raises(ApiError) as caught:
        anyio.run(main)
    assert caught.value.status == 429
    assert caught.value.body["error"]["code"] == "queue_full"
