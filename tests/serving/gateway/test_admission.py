from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.serving.gateway.admission import Admission
from dreamr.serving.gateway.errors import ApiError
from support.gateways import Gateway, asked, use
from support.pairs import Pair


class Requests:
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
    work: Callable[[Requests, Callable[[str], Awaitable[None]]], Awaitable[None]],
    running: int,
    waiting: int,
    *,
    shared: bool = True,
) -> Requests:
    async def main() -> Requests:
        requests = Requests(Admission(running, waiting, shared=lambda: shared))
        async with anyio.create_task_group() as tasks:

            async def come(client: str) -> None:
                tasks.start_soon(requests.come, client)
                await settle()

            await work(requests, come)
            tasks.cancel_scope.cancel()
        assert requests.admission.running == requests.admission.waiting == 0
        return requests

    return anyio.run(main)


def test_requests_over_the_limit_wait_in_order() -> None:
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "a", "a"):
            await come(client)
        assert (requests.admission.running, requests.admission.waiting) == (2, 1)
        await requests.go()
        assert (requests.admission.running, requests.admission.waiting) == (2, 0)

    assert play(work, 2, 5, shared=False).served == ["a", "a", "a"]


def test_a_client_that_floods_the_gateway_leaves_a_place_for_others() -> None:
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        for _ in range(40):
            await come("a")
        assert requests.served == ["a"] * 6
        for client in ("b", "c"):
            await come(client)
        assert requests.served[6:] == ["b", "c"]
        await come("b")
        assert requests.admission.running == 8, "the second request of a client has to wait"

    play(work, 8, 99)


def test_waiting_requests_of_the_lowest_priority_come_first() -> None:
    served: list[str] = []

    async def main() -> None:
        admission = Admission(1, 9, shared=lambda: False)
        leave = anyio.Event()

        async def come(client: str, priority: int) -> None:
            async with admission.place(client, priority):
                served.append(client)
                await leave.wait()

        async with anyio.create_task_group() as tasks:
            for client, priority in (("a", 0), ("b", 0), ("late", 5), ("first", -1), ("c", 0)):
                tasks.start_soon(come, client, priority)
                await settle()
            leave.set()

    anyio.run(main)
    assert served == ["a", "first", "b", "c", "late"]


def test_a_waiting_client_without_a_place_comes_first() -> None:
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "a", "b", "b", "a", "c"):
            await come(client)
        assert requests.served == ["a", "b"]
        await requests.go("a")
        assert requests.served == ["a", "b", "c"]

    play(work, 2, 9)


@pytest.mark.parametrize("seconds", [3.0, 30.0])
def test_clients_get_the_same_time_whatever_their_requests_take(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client a has long requests, b short ones; both always have some waiting."""
    now = 0.0
    monkeypatch.setattr(anyio, "current_time", lambda: now)
    used = {"a": 0.0, "b": 0.0}

    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        nonlocal now
        for client in "ab" * 10:
            await come(client)
        for _ in range(200):
            client = requests.gates[0][0]
            took = seconds if client == "a" else 1.0
            now += took
            used[client] += took
            await come(client)
            await requests.go()

    play(work, 1, 99)
    assert abs(used["a"] - used["b"]) <= seconds + 1


def test_time_cannot_be_saved_up_by_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(anyio, "current_time", lambda: now)

    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        nonlocal now
        for client in "aaaa":
            await come(client)
        for _ in range(2):
            now += 1000.0
            await requests.go()
        for client in "bbbb":
            await come(client)
        for _ in range(3):
            now += 1.0
            await requests.go()

    assert sorted(play(work, 1, 99).served[3:6]) in (["a", "b", "b"], ["a", "a", "b"])


def test_a_client_with_many_requests_does_not_keep_others_waiting() -> None:
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "a", "a", "a", "b", "c"):
            await come(client)
        for _ in range(5):
            await requests.go()

    assert set(play(work, 1, 9).served[1:4]) == {"a", "b", "c"}


def test_a_full_queue_makes_room_for_a_client_with_fewer_requests() -> None:
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "a", "a", "a"):
            await come(client)
        await come("b")
        assert requests.refused == ["a"]
        await come("a")
        assert requests.refused == ["a", "a"]

    play(work, 1, 3)


def test_a_client_that_disconnects_while_waiting_is_not_served() -> None:
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        for client in ("a", "b", "c"):
            await come(client)
        requests.scopes[1][1].cancel()
        await settle()
        await requests.go()

    assert play(work, 1, 5).served == ["a", "c"]


def test_without_a_queue_the_second_request_is_refused() -> None:
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        await come("a")
        await come("b")

    assert play(work, 1, 0).refused == ["b"]


def test_retry_after_grows_with_the_queue() -> None:
    admission = Admission(1, 0)
    admission._seconds = 7.3
    assert admission._full().headers["Retry-After"] == "8"


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
    async def work(requests: Requests, come: Callable[[str], Awaitable[None]]) -> None:
        for move, client in moves:
            if move == "come":
                await come(client)
            elif move == "go" and requests.gates:
                await requests.go()
            elif move == "leave" and requests.scopes:
                _, scope = requests.scopes.pop()
                scope.cancel()
                await settle()
            admission = requests.admission
            assert admission.running <= running
            assert admission.waiting <= waiting
            holders = Counter(name for name, _ in requests.gates)
            reserved = 1 if running > 1 else 0
            assert admission.running >= running - reserved or admission.waiting == 0
            if admission.running < running:
                assert all(holders[name] for name in admission._clients), (
                    "a client without a place waits although one is free"
                )

    requests = play(work, running, waiting)
    came = sum(move == "come" for move, _ in moves)
    assert len(requests.served) + len(requests.refused) <= came
    assert not Counter(requests.served) - Counter(c for m, c in moves if m == "come")


def test_a_patient_request_is_not_refused_and_leaves_the_queue_to_others() -> None:
    served: list[str] = []

    async def main() -> None:
        admission = Admission(1, 1, shared=lambda: False)
        leave = anyio.Event()

        async def come(name: str, client: str, patient: bool) -> None:
            async with admission.place(client, patient=patient):
                served.append(name)
                await leave.wait()

        async with anyio.create_task_group() as tasks:
            for name, client, patient in (
                ("running", "a", False),
                ("patient", "a", True),
                ("as well", "a", True),
                ("waiting", "a", False),
            ):
                tasks.start_soon(come, name, client, patient)
                await settle()
            assert admission.waiting == 3
            with anyio.move_on_after(0):
                await come("canceled", "a", True)
            with pytest.raises(ApiError):
                await come("refused", "a", False)
            leave.set()
        assert admission.running == admission.waiting == 0

    anyio.run(main)
    assert served == ["running", "waiting", "patient", "as well"]


def test_the_error_has_the_format_of_openai() -> None:
    async def main() -> None:
        admission = Admission(1, 0)
        async with admission.place("a"), admission.place("b"):
            pytest.fail("two places")

    with pytest.raises(ApiError) as caught:
        anyio.run(main)
    assert caught.value.status == 429
    assert caught.value.body["error"]["code"] == "queue_full"


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
