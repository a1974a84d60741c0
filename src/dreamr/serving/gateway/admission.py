"""Admission control: a bound on concurrent requests and a bounded queue, fair to clients."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from dreamr.serving.gateway.errors import ApiError

_SMOOTH = 0.2  # weight of the newest request in the mean duration
_MAX_RETRY_AFTER = 60  # seconds


@dataclass(eq=False, slots=True)
class _Ticket:
    """A waiting request; `ready` is set when it is admitted or refused."""

    client: str
    ready: anyio.Event = field(default_factory=anyio.Event)
    admitted: bool = False
    refused: bool = False


class Admission:
    """Fair admission of requests.

    A free place goes to the client with the fewest running requests; ties go to the client that was
    served least recently. If the queue is full, the newest request of the client with the most
    waiting requests is refused in favor of a client with fewer.

    Args:
        running: Largest number of running requests.
        waiting: Largest number of waiting requests.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._most_running, self._most_waiting = running, waiting
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[_Ticket]] = {}  # least recently served client first
        self._seconds = 1.0

    @property
    def running(self) -> int:
        """Number of running requests."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def place(self, client: str) -> AsyncGenerator[None, None]:
        """Wait for a place and hold it for the duration of the block.

        Args:
            client: Name of the client, which places are shared by.

        Raises:
            ApiError: If the queue is full (429).
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
        except BaseException:  # the client disconnected or the deadline passed
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
        # On a tie, min() returns the first client: the least recently served one.
        client = min(self._queues, key=lambda name: self._running[name])
        ticket = self._queues[client][0]
        self._remove(ticket)
        if client in self._queues:  # served now: move to the end
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
        seconds = min(_MAX_RETRY_AFTER, max(1, math.ceil(rounds * self._seconds)))
        return ApiError(
            429,
            f"the queue is full: {self.running} requests are running and {self.waiting} are "
            f"waiting; retry in {seconds} s",
            "rate_limit_error",
            code="queue_full",
            headers={"Retry-After": str(seconds)},
        )
