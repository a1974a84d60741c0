"""Who may be reasoned about now: a bound on requests at once, a bounded queue, fair to clients."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from dreamr.serving.gateway.errors import ApiError

_SMOOTH = 0.2  # of the mean duration, how much the newest counts
_LONGEST_WAIT = 60


@dataclass(eq=False, slots=True)
class _Ticket:
    """A request that waits. ready: set once it may go on, or is turned away."""

    client: str
    ready: anyio.Event = field(default_factory=anyio.Event)
    admitted: bool = False
    refused: bool = False


class Admission:
    """Lets so many requests in at once; of those that wait, the clients take turns.

    A place goes to the client with the fewest requests under way, and among equals to the one that
    was served longest ago. Where the queue is full, the newest request of the client that has the
    most waiting makes room for one that has fewer.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._most_running, self._most_waiting = running, waiting
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[_Ticket]] = {}  # the client served longest ago comes first
        self._seconds = 1.0

    @property
    def running(self) -> int:
        """Requests under way."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def place(self, client: str) -> AsyncGenerator[None, None]:
        """Wait for a place, and hold it.

        Raises:
            ApiError: 429, there are too many already.
        """
        await self._enter(client)
        began = anyio.current_time()
        try:
            yield
        finally:
            self._seconds += _SMOOTH * (anyio.current_time() - began - self._seconds)
            self._leave(client)

    async def _enter(self, client: str) -> None:
        if self.running < self._most_running and not self._queues:
            self._running[client] += 1
            return
        self._make_room(client)
        ticket = _Ticket(client)
        self._queues.setdefault(client, deque()).append(ticket)
        try:
            await ticket.ready.wait()
        except BaseException:  # its client left, or its deadline passed
            if ticket.admitted:
                self._leave(client)
            elif not ticket.refused:
                self._remove(ticket)
            raise
        if ticket.refused:
            raise self._full()

    def _make_room(self, client: str) -> None:
        if self.waiting < self._most_waiting:
            return
        longest = max(self._queues, key=lambda name: len(self._queues[name]), default=client)
        own = len(self._queues.get(client, ()))
        if not self._queues or len(self._queues[longest]) < own + 2:
            raise self._full()
        ticket = self._queues[longest][-1]
        self._remove(ticket)
        ticket.refused = True
        ticket.ready.set()

    def _leave(self, client: str) -> None:
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        while self._queues and self.running < self._most_running:
            self._admit()

    def _admit(self) -> None:
        # min takes the first among equals.
        client = min(self._queues, key=lambda name: self._running[name])
        ticket = self._queues[client][0]
        self._remove(ticket)
        if client in self._queues:  # to the end: it was served
            self._queues[client] = self._queues.pop(client)
        ticket.admitted = True
        self._running[client] += 1
        ticket.ready.set()

    def _remove(self, ticket: _Ticket) -> None:
        queue = self._queues[ticket.client]
        queue.remove(ticket)
        if not queue:
            del self._queues[ticket.client]

    def _full(self) -> ApiError:
        rounds = (self.waiting + 1) / self._most_running
        seconds = min(_LONGEST_WAIT, max(1, math.ceil(rounds * self._seconds)))
        return ApiError(
            429,
            f"{self.running} requests are under way and {self.waiting} wait: come again in "
            f"{seconds} s",
            "rate_limit_error",
            code="queue_full",
            headers={"Retry-After": str(seconds)},
        )
