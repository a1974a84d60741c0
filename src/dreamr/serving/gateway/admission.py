"""Admission control: a bound on concurrent requests and a bounded queue, fair to clients."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from dreamr.serving.gateway.errors import ApiError

_SMOOTH = 0.2  # weight of the newest request in the mean duration
_MAX_RETRY_AFTER = 60  # seconds
_RESERVED = 4  # one of this many places is kept free for clients that hold none
_REMEMBERED = 4096  # idle clients whose usage is kept


@dataclass(eq=False, slots=True)
class _Ticket:
    """A waiting request; `ready` is set when it is admitted, at the time `began`, or refused."""

    client: str
    priority: int = 0
    ready: anyio.Event = field(default_factory=anyio.Event)
    began: float | None = None


@dataclass(eq=False, slots=True)
class _Client:
    """A client with running or waiting requests.

    Attributes:
        used: Seconds of places that it has used, without its running requests.
        running: Number of its running requests.
        started: Sum of the times at which these were admitted.
        queue: Its waiting requests.
        patient: Its waiting requests that are not refused, which are admitted after all others.
    """

    used: float
    running: int = 0
    started: float = 0.0
    queue: deque[_Ticket] = field(default_factory=deque)
    patient: deque[_Ticket] = field(default_factory=deque)

    @property
    def next(self) -> deque[_Ticket]:
        """The queue of its next request."""
        return self.queue or self.patient

    @property
    def priority(self) -> int:
        """Priority of its next request."""
        return self.next[0].priority if self.next else 0

    def usage(self, now: float) -> float:
        """Return the seconds of places that the client has used until now."""
        return self.used + self.running * now - self.started


class Admission:
    """Fair admission of requests.

    A free place goes to the client whose next request has the lowest priority. Of several, it goes
    to the one that has used places for the least time, so a client with long requests gets no more
    than others. A client that was idle counts as having used what the least served active client
    has: time cannot be saved up. A quarter of the places, at least one of several, goes only to
    clients that hold no place. A client that floods the gateway therefore keeps no other waiting
    for its first place.

    If the queue is full, the newest request of the client with the most waiting requests is refused
    in favor of a client with fewer.

    Patient requests are those that were accepted before. They are never refused, have no part in
    the bound of the queue, and wait until their client has no other waiting request.

    Args:
        running: Largest number of running requests.
        waiting: Largest number of waiting requests.
        shared: Returns whether there can be more than one client. If not, no place is reserved.
    """

    def __init__(
        self, running: int, waiting: int, *, shared: Callable[[], bool] = lambda: True
    ) -> None:
        self._most_running, self._most_waiting = running, waiting
        self._reserved = max(1, running // _RESERVED) if running > 1 else 0
        self._shared = shared
        self._running = self._waiting = self._patient = 0
        self._clients: dict[str, _Client] = {}  # active ones, least recently served first
        self._idle: dict[str, float] = {}  # usage of idle clients above the floor
        self._floor = 0.0  # usage of the least served active client; never falls
        self._seconds = 1.0

    @property
    def running(self) -> int:
        """Number of running requests."""
        return self._running

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return self._waiting + self._patient

    @asynccontextmanager
    async def place(
        self, client: str, priority: int = 0, *, patient: bool = False
    ) -> AsyncGenerator[None, None]:
        """Wait for a place and hold it for the duration of the block.

        Args:
            client: Name of the client, which places are shared by.
            priority: Priority of the request; lower ones get places first.
            patient: Whether the request waits even if the queue is full.

        Raises:
            ApiError: If the queue is full (429).
        """
        began = await self._enter(client, priority, patient)
        try:
            yield
        finally:
            self._seconds += _SMOOTH * (anyio.current_time() - began - self._seconds)
            self._leave(client, began)

    async def _enter(self, name: str, priority: int, patient: bool) -> float:
        """Wait for a place and return the time at which it was given."""
        client = self._activate(name)
        if not client.queue and self._has_place(client):
            return self._start(name, client)
        ticket = _Ticket(name, priority)
        try:
            if patient:
                client.patient.append(ticket)
                self._patient += 1
            else:
                self._make_room(name)
                client.queue.append(ticket)
                self._waiting += 1
            await ticket.ready.wait()
            if ticket.began is None:
                raise self._full()
        except BaseException:  # refused, or the client disconnected or the deadline passed
            if ticket.began is None:
                self._remove(ticket)
            else:
                self._leave(name, ticket.began)
            raise
        return ticket.began

    def _has_place(self, client: _Client) -> bool:
        reserved = self._reserved if client.running and self._shared() else 0
        return self._running < self._most_running - reserved

    def _activate(self, name: str) -> _Client:
        now = anyio.current_time()
        usages = [client.usage(now) for client in self._clients.values()]
        if usages:
            self._floor = max(self._floor, min(usages))
        else:  # no client is active: earlier usage does not matter any more
            self._floor = 0.0
            self._idle.clear()
        if name not in self._clients:
            used = max(self._floor, self._idle.pop(name, 0.0))
            self._clients[name] = _Client(used)
        return self._clients[name]

    def _deactivate(self, name: str) -> None:
        """Forget a client without requests, except for usage that others have not reached."""
        client = self._clients[name]
        if client.running or client.next:
            return
        del self._clients[name]
        if client.used > self._floor:
            self._idle[name] = client.used
        while len(self._idle) > _REMEMBERED:
            del self._idle[next(iter(self._idle))]

    def _start(self, name: str, client: _Client) -> float:
        now = anyio.current_time()
        client.running += 1
        client.started += now
        self._running += 1
        self._clients[name] = self._clients.pop(name)  # served now: move to the end
        return now

    def _leave(self, name: str, began: float) -> None:
        client = self._clients[name]
        client.running -= 1
        client.started -= began
        client.used += anyio.current_time() - began
        self._running -= 1
        self._admit()
        self._deactivate(name)

    def _admit(self) -> None:
        """Give free places to waiting clients."""
        while True:
            now = anyio.current_time()
            # On a tie, min() returns the first client: the least recently served one.
            found = min(
                (c for c in self._clients.items() if c[1].next and self._has_place(c[1])),
                key=lambda item: (item[1].priority, item[1].usage(now), item[1].running),
                default=None,
            )
            if found is None:
                return
            name, client = found
            if client.queue:
                ticket = client.queue.popleft()
                self._waiting -= 1
            else:
                ticket = client.patient.popleft()
                self._patient -= 1
            ticket.began = self._start(name, client)
            ticket.ready.set()

    def _make_room(self, name: str) -> None:
        if self._waiting < self._most_waiting:
            return
        longest = max(self._clients.values(), key=lambda client: len(client.queue))
        if len(longest.queue) < len(self._clients[name].queue) + 2:
            raise self._full()
        ticket = longest.queue[-1]
        self._remove(ticket)
        ticket.ready.set()

    def _remove(self, ticket: _Ticket) -> None:
        """Take a request out of the queue, if it is still there."""
        client = self._clients.get(ticket.client)
        if client is None:
            return
        if ticket in client.queue:
            client.queue.remove(ticket)
            self._waiting -= 1
        elif ticket in client.patient:
            client.patient.remove(ticket)
            self._patient -= 1
        self._deactivate(ticket.client)

    def _full(self) -> ApiError:
        rounds = (self._waiting + 1) / self._most_running
        seconds = min(_MAX_RETRY_AFTER, max(1, math.ceil(rounds * self._seconds)))
        return ApiError(
            429,
            f"the queue is full: {self.running} requests are running and {self._waiting} are "
            f"waiting; retry in {seconds} s",
            "rate_limit_error",
            code="queue_full",
            headers={"Retry-After": str(seconds)},
        )
