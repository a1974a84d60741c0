"""Memory that all requests share: bytes of request bodies, pixels of images and pages."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from dreamr._reasoner import Reasoner
from dreamr.conversation import Audio, Conversation, Image, VideoFile
from dreamr.serving.gateway.errors import SERVER, ApiError, bad_request
from dreamr.serving.options import ServeOptions

FREE_BYTES = 64 * 2**10  # of each body, not counted: small requests always get through
_RETRY_AFTER = 5  # seconds
_IDLE_BYTES = 64 * 2**20  # of images and sounds in finished conversations whose caches are kept


class Budget:
    """An amount that is shared; those who wait for a part of it are served in order.

    Args:
        size: The whole amount.
    """

    def __init__(self, size: int) -> None:
        self.size, self.used = size, 0
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    def take(self, amount: int) -> bool:
        """Take an amount if it is available; return whether it was."""
        if self._waiting or self.used + amount > self.size:
            return False
        self.used += amount
        return True

    async def wait(self, amount: int) -> None:
        """Take an amount, at most the size, as soon as it is available."""
        if self.take(amount):
            return
        ticket = (amount, anyio.Event())
        self._waiting.append(ticket)
        try:
            await ticket[1].wait()
        except BaseException:  # canceled
            if ticket[1].is_set():
                self.give(amount)
            else:
                self._waiting.remove(ticket)
                self._serve()
            raise

    def give(self, amount: int) -> None:
        """Give an amount back."""
        self.used -= amount
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self.used + self._waiting[0][0] <= self.size:
            amount, ready = self._waiting.popleft()
            self.used += amount
            ready.set()


class Memory:
    """Shared memory of all requests.

    Args:
        body_bytes: Bytes of all bodies, without the first `FREE_BYTES` of each. One client gets at
            most half of them if they are enough for another body of the largest size.
        body_most: Largest size of a body.
        pixels: Pixels of all decoded images.
    """

    def __init__(self, *, body_bytes: int, body_most: int, pixels: int) -> None:
        self.bodies, self.pixels = Budget(body_bytes), Budget(pixels)
        self._share = max(body_bytes // 2, min(body_most, body_bytes))
        self._held: Counter[str] = Counter()

    @classmethod
    def of(cls, options: ServeOptions) -> Memory:
        """Return the memory that the limits of the gateway allow."""
        return cls(
            body_bytes=options.max_total_body,
            body_most=options.max_body,
            pixels=options.max_total_pixels,
        )

    def lease(self, client: str) -> Lease:
        """Return what a new request of a client holds, which is nothing yet."""
        return Lease(self, client)

    def take_body(self, client: str, amount: int) -> bool:
        """Take bytes for a client; return whether they were available."""
        if self._held[client] + amount > self._share or not self.bodies.take(amount):
            return False
        self._held[client] += amount
        return True

    def give_body(self, client: str, amount: int) -> None:
        """Give bytes of a client back."""
        self.bodies.give(amount)
        self._held[client] -= amount
        if not self._held[client]:
            del self._held[client]


class Lease:
    """What one request holds of the shared memory. Used as a context manager.

    Attributes:
        client: Name of the client.
    """

    def __init__(self, memory: Memory, client: str) -> None:
        self._memory, self.client = memory, client
        self._read = self._counted = self._pixels = 0

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_body()
        self._memory.pixels.give(self._pixels)
        self._pixels = 0

    def take_body(self, amount: int) -> None:
        """Take bytes for the body, or for images that are fetched.

        Raises:
            ApiError: If all bytes are in use (503).
        """
        self._read += amount
        more = max(0, self._read - FREE_BYTES) - self._counted
        if more and not self._memory.take_body(self.client, more):
            raise ApiError(
                503,
                "the gateway is receiving too many large requests at the same time: retry in "
                f"{_RETRY_AFTER} s",
                SERVER,
                code="overloaded",
                headers={"Retry-After": str(_RETRY_AFTER)},
            )
        self._counted += more

    def give_body(self) -> None:
        """Give back the bytes of the body, which is no longer in memory."""
        if self._counted:
            self._memory.give_body(self.client, self._counted)
        self._read = self._counted = 0

    async def take_pixels(self, amount: int) -> None:
        """Wait for the pixels of all images of the request.

        Raises:
            ApiError: If the images of one request are larger than all may be together (400).
        """
        most = self._memory.pixels.size
        if amount > most:
            raise bad_request(
                f"the images have {amount:,} pixels together, above the limit of {most:,}: send "
                "fewer or smaller images",
                "messages",
            )
        if amount:
            await self._memory.pixels.wait(amount)
            self._pixels += amount

    def keep_pixels(self, amount: int) -> None:
        """Give back all but this number of pixels: fewer were needed than were taken."""
        if amount < self._pixels:
            self._memory.pixels.give(self._pixels - amount)
            self._pixels = amount


class Retention:
    """The conversations whose caches the engines keep after their runs.

    Those without images and sounds are left to the engines. Of the others, the latest are kept up
    to a number of bytes. An image of several conversations counts once, as it is held once.

    Args:
        reasoner: An open Reasoner, whose engines forget what is not kept.
        most: Bytes of the images and sounds that are kept.
    """

    def __init__(self, reasoner: Reasoner, most: int = _IDLE_BYTES) -> None:
        self._reasoner, self._most = reasoner, most
        self._running: Counter[frozenset[Conversation]] = Counter()
        self._idle: OrderedDict[frozenset[Conversation], None] = OrderedDict()
        self._size = 0  # bytes of their images and sounds
        self._uses: Counter[str] = Counter()  # idle conversations with each, by digest

    @contextmanager
    def running(self, *seen: Conversation) -> Iterator[Callable[..., None]]:
        """Keep everything about a conversation during the block.

        Args:
            seen: The conversation as each model gets it.

        Yields:
            A function to call with the conversation if the models get another: engines know a
            spoken conversation by what was heard in it.
        """
        key, idle = frozenset(seen), self._begin(frozenset(seen))

        def changed(*seen: Conversation) -> None:
            nonlocal key, idle
            if (new := frozenset(seen)) != key:
                self._end(key, kept=idle)  # nothing new is known about it
                key, idle = new, self._begin(new)

        try:
            yield changed
        finally:
            self._end(key, kept=True)
            self._trim()

    def _begin(self, key: frozenset[Conversation]) -> bool:
        """Count a run; return whether the conversation was kept without one."""
        if idle := key in self._idle:
            self._remove(key)
        if _media(key):
            self._running[key] += 1
        return idle

    def _end(self, key: frozenset[Conversation], *, kept: bool) -> None:
        """Count a run no longer, and keep the conversation after the last one."""
        if key in self._running:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
                if kept:
                    self._add(key)

    def _add(self, seen: frozenset[Conversation]) -> None:
        self._idle[seen] = None
        for digest, size in _media(seen).items():
            self._uses[digest] += 1
            self._size += size if self._uses[digest] == 1 else 0

    def _remove(self, seen: frozenset[Conversation]) -> None:
        del self._idle[seen]
        for digest, size in _media(seen).items():
            self._uses[digest] -= 1
            if not self._uses[digest]:
                del self._uses[digest]
                self._size -= size

    def _trim(self) -> None:
        while self._size > self._most:
            seen = next(iter(self._idle))
            self._remove(seen)
            for model in self._reasoner.models.values():
                for conversation in seen:
                    model.engine.forget(conversation)


def _media(seen: frozenset[Conversation]) -> dict[str, int]:
    """Return the bytes of the images and sounds of conversations, by digest."""
    parts = (part for talk in seen for turn in talk.turns for part in turn.parts)
    return {
        part.digest: len(part.data) for part in parts if isinstance(part, Image | Audio | VideoFile)
    }
