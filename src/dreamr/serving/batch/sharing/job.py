"""A job in Redis: which requests are done, and which process holds which of the others."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from dreamr._messages import short_path
from dreamr.serving.batch.errors import BatchError
from dreamr.serving.batch.lines import error_line
from dreamr.serving.batch.requests import BatchRequest, InvalidRequest, read_requests
from dreamr.serving.batch.sharing import scripts
from dreamr.serving.batch.sharing.link import RESUME, Link

_KEPT = 7 * 86400  # seconds that a job is kept in Redis after its last process
_POLL = 0.25  # seconds between two looks for a request while others hold the rest
_SIGNS = 3  # signs of life within the time after which a process counts as dead
_GIVEN_BACK = 10**9  # milliseconds without a sign of life, with which others take over at once
_AT_ONCE = 64  # entries or lines in a command
_BYTES_AT_ONCE = 2**20  # of lines in a command, of which there may be one that is longer
_TAKEOVERS = 3  # of a request; with the last one, a process answers it and no other


@dataclass(frozen=True, slots=True)
class Page:
    """The state of a job, and lines of it that are new to the reader.

    Attributes:
        round: Number of times that errors were put into the queue again.
        total: Number of requests.
        answered: Number of answers.
        failed: Number of errors.
        seconds: Time since the job began, up to its last line if it is done.
        answers: Next answers: entry and line.
        errors: Next errors: entry and line.
    """

    round: int
    total: int
    answered: int
    failed: int
    seconds: float
    answers: list[tuple[bytes, bytes]]
    errors: list[tuple[bytes, bytes]]

    @property
    def is_done(self) -> bool:
        """Whether every request has an answer or error."""
        return self.answered + self.failed >= self.total


@dataclass(slots=True, eq=False)
class SharedJob:
    """A process's part of a job. It is the sink of that process's answers.

    Attributes:
        link: Connection to Redis.
        name: Name of the job.
        path: File of requests.
        takeover: Seconds without a sign of life after which a process counts as dead.
        process: Name of this process.
        answered: Always empty: Redis knows what is answered.
        failed: Always empty.
    """

    link: Link
    name: str
    path: Path
    takeover: float
    process: str = field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    )
    answered: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    _held: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # entry, number, by id

    async def find(self, digest: str, total: int) -> bool:
        """Return whether the job exists.

        Args:
            digest: Digest of the requests.
            total: Their number.

        Raises:
            BatchError: If it is a job of other requests.
        """
        found = await self._run(scripts.FIND)
        return bool(found) and self._check(found, digest, total)

    async def create(
        self, digest: str, total: int, numbers: Iterable[int], answers: Iterator[bytes]
    ) -> None:
        """Create the job, unless another process has done so meanwhile.

        Args:
            digest: Digest of the requests.
            total: Their number.
            numbers: Numbers of the requests to answer, from 0.
            answers: Lines of the others, answered before.

        Raises:
            BatchError: If it is a job of other requests, or Redis is lost or loses entries.
        """
        prefix = f"{self._key('new')}:{self.process}-{secrets.token_hex(4)}:"
        counts = {"queue": 0, "answers": 0}
        for stream, values in (("queue", iter(numbers)), ("answers", answers)):
            portions = _portions(values)
            while some := await anyio.to_thread.run_sync(next, portions, None):
                await self._run(scripts.PREPARE, prefix, stream, 3600, counts[stream], *some)
                counts[stream] += len(some)
        given = (prefix, digest, total, _KEPT, *counts.values())
        self._check(await self._run(scripts.CREATE, *given), digest, total)

    async def retry(self) -> None:
        """Put the requests that ended in an error into the queue again."""
        await self._run(scripts.RETRY)

    async def requests(self) -> AsyncGenerator[BatchRequest | InvalidRequest, None]:
        """Yield requests as they are taken, until all of the job are done."""
        reader, idle = _Reader(self.path), round(self.takeover * 1000)
        while True:
            given = (self.process, idle, _TAKEOVERS, *self._entries)
            match await self._run(scripts.TAKE, *given):
                case [b"over"]:
                    return
                case [entry, number, how]:
                    request = await anyio.to_thread.run_sync(reader.read, int(number))
                    name = request.custom_id
                    self._held[name] = entry, number
                    if how == b"lost":
                        await self.add_error(name, _lost(request))
                        continue
                    yield request
                    while how == b"alone" and name in self._held:
                        await anyio.sleep(_POLL)
                case _:
                    await anyio.sleep(_POLL)

    async def add_answer(self, custom_id: str, digest: str, line: bytes) -> None:
        """Keep the line of an answer, unless another process has answered the request."""
        await self._finish(custom_id, "answers", line)

    async def add_error(self, custom_id: str, line: bytes) -> None:
        """Keep the line of an error, unless another process has done the request."""
        await self._finish(custom_id, "errors", line)

    async def hold(self) -> None:
        """Give signs of life until canceled, so that no other process takes the held requests."""
        while True:
            await self._hold(self.process, 0)
            await anyio.sleep(self.takeover / _SIGNS)

    async def give_back(self) -> None:
        """Leave the held requests to other processes."""
        await self._hold("given-back", _GIVEN_BACK)
        self._held.clear()

    async def read(self, answer: bytes, error: bytes, most: int = _AT_ONCE) -> Page:
        """Return the state of the job, and the lines after the last ones that were read.

        Args:
            answer: Entry of the last answer.
            error: Entry of the last error.
            most: Most answers, and most errors.
        """
        found = await self._run(scripts.READ, answer, error, most)
        round_, total, answered, failed, seconds, answers, errors = found
        lines = list(_lines(answers)), list(_lines(errors))
        return Page(round_, total, answered, failed, seconds, *lines)

    async def _finish(self, custom_id: str, stream: str, line: bytes) -> None:
        if custom_id in self._held:
            entry, number = self._held[custom_id]
            await self._run(scripts.FINISH, entry, number, stream, line)
            self._held.pop(custom_id, None)

    async def _hold(self, name: str, idle: int) -> None:
        await self._run(scripts.HOLD, self.process, name, idle, _KEPT, *self._entries)

    @property
    def _entries(self) -> list[bytes]:
        """Entries of the requests that this process holds."""
        return [entry for entry, _ in self._held.values()]

    async def _run(self, script: str, *given: Any) -> Any:
        """Run a script on the keys of the job.

        Raises:
            BatchError: If Redis has lost the job, or is lost itself.
        """
        found = await self.link.run(script, [self._key(name) for name in scripts.KEYS], *given)
        if found in (b"gone", [b"gone"]):
            raise BatchError(f"the job {short_path(self.name)} is no longer in Redis; {RESUME}")
        return found

    def _key(self, name: str) -> str:
        return f"dreamr:batch:{{{self.name}}}:{name}"  # braces: in a cluster, all on one server

    def _check(self, found: list[bytes], digest: str, total: int) -> bool:
        if found[0].decode() != digest:
            raise BatchError(
                f"the job {short_path(self.name)} in Redis has other requests ({int(found[1])}, "
                f"not the {total} of {short_path(self.path)}): use its file, or name another --job"
            )
        return True


class _Reader:
    """The requests of a file by number, cheap in ascending order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._requests, self._next = read_requests(path), 0

    def read(self, number: int) -> BatchRequest | InvalidRequest:
        if number < self._next:
            self._requests, self._next = read_requests(self._path), 0
        for request in islice(self._requests, number - self._next, None):
            self._next = number + 1
            return request
        raise BatchError(f"{self._path} has lost requests since the job began; restore it")


def _portions(values: Iterator[int] | Iterator[bytes]) -> Iterator[list[int | bytes]]:
    """Yield values in portions whose number and size let a command end within its timeout."""
    portion: list[int | bytes] = []
    size = 0
    for value in values:
        length = len(value) if isinstance(value, bytes) else 0
        if portion and (len(portion) == _AT_ONCE or size + length > _BYTES_AT_ONCE):
            yield portion
            portion, size = [], 0
        portion.append(value)
        size += length
    if portion:
        yield portion


def _lost(request: BatchRequest | InvalidRequest) -> bytes:
    """Return the line of a request that is not taken over again."""
    digest = request.digest if isinstance(request, BatchRequest) else ""
    message = (
        f"{_TAKEOVERS + 1} processes ended without an answer to this request, the last while it "
        "answered no other: find out why before --retry"
    )
    return error_line(request.custom_id, digest, "too_many_takeovers", message, 500)


def _lines(entries: list[Any]) -> Iterator[tuple[bytes, bytes]]:
    return ((entry, fields[3]) for entry, fields in entries)
