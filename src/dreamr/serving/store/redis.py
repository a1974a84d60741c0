"""A store in Redis, which the replicas of a gateway share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

import anyio

from dreamr.serving.store import run_scripts, scripts
from dreamr.serving.store.link import StoreLink
from dreamr.serving.store.memory import MemoryRecords, MemoryRunLogs
from dreamr.serving.store.protocol import (
    Appended,
    Kind,
    StoredRecord,
    StoredRun,
    StoreLost,
)
from dreamr.serving.store.redis_attempts import RedisAttempts
from dreamr.serving.store.redis_quotas import PREFIX, RedisQuotas, digest_of

_LONGEST = 2 * 86400  # seconds that a run can take
_EVENTS = 256  # read at once
_LARGE = 2**17  # bytes of a content that takes longer than others
_RUNS = Kind("run", 1000, 128 * 2**20, evicts=False)
_BATCHES = Kind("batch-run", 1000, 2**40, evicts=False)


class RedisRecords:
    """Records of all replicas. While Redis is lost, each keeps its own.

    Args:
        link: Link to Redis.
    """

    def __init__(self, link: StoreLink) -> None:
        self._link, self._local = link, MemoryRecords()

    async def put(self, kind: Kind, record: StoredRecord, seconds: float, size: int) -> bool:
        """Keep a record, or another content of it; return whether there was room."""
        if size > kind.most_bytes // 2:
            return False
        bounds = (size, kind.most, kind.most_bytes, int(kind.evicts))
        given = (record.name, digest_of(record.owner), record.content, round(seconds * 1000))
        large = len(record.content) > _LARGE
        try:
            kept = bool(await self._run(scripts.PUT, kind, *given, *bounds, large=large))
        except StoreLost:
            return await self._local.put(kind, record, seconds, size)
        if kept:  # what was kept here while Redis was lost is out of date
            await self._local.delete(kind, record.name, record.owner)
        return kept

    async def get(self, kind: Kind, name: str, owner: str) -> StoredRecord | None:
        """Return a record; None if the client has none of this name."""
        try:
            found = await self._run(scripts.GET, kind, name, digest_of(owner), large=True)
        except StoreLost:
            found = None
        if found is None:
            return await self._local.get(kind, name, owner)
        return StoredRecord(name, owner, found)

    async def touch(self, kind: Kind, name: str, owner: str, seconds: float) -> bool:
        """Keep a record for longer; return whether the client has it."""
        given = (name, digest_of(owner), round(seconds * 1000))
        try:
            if await self._run(scripts.TOUCH, kind, *given):
                return True
        except StoreLost:
            pass
        return await self._local.touch(kind, name, owner, seconds)

    async def delete(self, kind: Kind, name: str, owner: str) -> bool:
        """Forget a record; return whether the client had it."""
        own = await self._local.delete(kind, name, owner)
        try:
            return bool(await self._run(scripts.DELETE, kind, name, digest_of(owner))) or own
        except StoreLost:
            return own

    async def all(self, kind: Kind, owner: str) -> Sequence[StoredRecord]:
        """Return the records of a client, the oldest first."""
        own = await self._local.all(kind, owner)
        try:
            found = iter(await self._run(scripts.ALL, kind, digest_of(owner), large=True))
        except StoreLost:
            return own
        pairs = zip(found, found, strict=True)
        return [*(StoredRecord(name.decode(), owner, content) for name, content in pairs), *own]

    async def _run(self, script: str, kind: Kind, *given: Any, large: bool = False) -> Any:
        return await self._link.run(script, [f"{PREFIX}{kind.name}"], *given, large=large)


class RedisRunLogs:
    """Logs of the runs of all replicas. Runs that begin while Redis is lost stay with theirs.

    Args:
        link: Link to Redis.
        lease: Seconds without a sign of life after which a replica counts as dead.
        kind: What the requests of runs are kept as.
    """

    def __init__(self, link: StoreLink, lease: float, kind: Kind) -> None:
        self._kind, self._prefix = kind, f"{PREFIX}{kind.name}-log:"
        self._link, self.lease = link, lease
        self._lease = round(lease * 1000)
        self._local = MemoryRunLogs()
        self._holder = uuid4().hex
        self._alone: set[str] = set()  # runs that began while Redis was lost
        self._unconfirmed: set[str] = set()  # runs of which Redis may know nevertheless
        self._kept: dict[str, tuple[int, int]] = {}  # events and steps of all runs held here

    async def open(self, run: StoredRun, seconds: float) -> bool:
        """Begin the log of a run and hold it; return whether there was room."""
        request = run.owner.encode() + b"\n" + run.request
        size = len(request) + _LARGE  # its events are about as large
        given = (run.name, digest_of(run.owner), seconds, self._holder, self._lease, _LONGEST)
        bounds = (size, self._kind.most, self._kind.most_bytes)
        large = len(request) > _LARGE
        self._kept[run.name] = 0, 0
        opened, sent = False, not self._link.lost
        try:
            opened = bool(
                await self._run(run_scripts.OPEN, run.name, *given, request, *bounds, large=large)
            )
            return opened
        except StoreLost:
            if sent:
                self._unconfirmed.add(run.name)
            if kept := await self._local.open(run, seconds):
                self._alone.add(run.name)
            return kept
        finally:  # also if the caller is canceled: any replica may take it over
            if not opened:
                del self._kept[run.name]

    async def append(
        self, name: str, events: Sequence[bytes], steps: Sequence[bytes], *, ended: bool = False
    ) -> Appended:
        """Keep events and the steps they are about, unless another replica holds the log.

        Raises:
            StoreLost: If Redis is lost: try again later.
        """
        if name in self._alone:
            if ended:
                self._alone.discard(name)
            return await self._local.append(name, events, steps, ended=ended)
        before = self._kept.get(name, (0, 0))
        about = (name, self._holder, self._lease, _LONGEST, int(ended), *before, len(events))
        found = await self._run(run_scripts.APPEND, name, *about, *events, *steps, large=True)
        if ended or found == b"lost":
            self._kept.pop(name, None)
        else:
            self._kept[name] = before[0] + len(events), before[1] + len(steps)
        return cast("Appended", found.decode())

    async def read(self, name: str, owner: str, after: int) -> tuple[Sequence[bytes], bool] | None:
        """Return the events from a number on, and whether the log has ended."""
        if name in self._unconfirmed:
            return await self._local.read(name, owner, after)
        try:
            found = await self._run(
                run_scripts.READ, name, digest_of(owner), after, _EVENTS, large=True
            )
        except StoreLost:
            found = None
        if found is None:
            return await self._local.read(name, owner, after)
        over, *events = found
        return events, bool(over)

    async def cancel(self, name: str, owner: str) -> bool:
        """End a run soon; return whether the client has it."""
        own = await self._local.cancel(name, owner)
        try:
            return bool(await self._run(run_scripts.CANCEL, name, digest_of(owner))) or own
        except StoreLost:
            return own

    async def take_over(self) -> StoredRun | None:
        """Hold the log of a run whose replica has died; return None if there is none."""
        keys = [self._prefix, f"{self._prefix}open"]
        given = (self._holder, self._lease, *self._kept, *self._alone)
        try:
            await self._discard()
            if not self._link.is_steady(self.lease):  # holders could not prolong their leases
                return None
            found = await self._link.run(run_scripts.TAKE_OVER, keys, *given, large=True)
            if not found:
                return None
            name, events, canceled = found[0].decode(), int(found[2]), bool(found[3])
            client, request = await self._request(name, found[1].decode())
            steps = await self._steps(name)
        except StoreLost:
            return None
        self._kept[name] = events, len(steps)
        return StoredRun(name, client, request, steps, events, canceled)

    async def give_back(self, name: str) -> None:
        """Leave a run to other replicas."""
        try:
            await self._run(run_scripts.GIVE_BACK, name, self._holder)
        except StoreLost:
            pass  # they take it over after a while
        finally:  # not before: its lease, if taken again here meanwhile, would be deleted
            self._kept.pop(name, None)

    async def delete(self, name: str, owner: str) -> bool:
        """Forget a run that has ended; return whether the client had it."""
        own = await self._local.delete(name, owner)
        try:
            return (
                bool(await self._run(run_scripts.DELETE_RUN, name, name, digest_of(owner))) or own
            )
        except StoreLost:
            return own

    async def _discard(self) -> None:
        """Remove runs from Redis that this replica keeps alone, or has refused."""
        for name in list(self._unconfirmed):
            await self._run(run_scripts.DISCARD, name, name)
            self._unconfirmed.discard(name)

    async def _request(self, name: str, owner: str) -> tuple[str, bytes]:
        """Return client and request of a run, by the digest of its client."""
        found = await self._run(scripts.GET, name, name, owner, large=True)
        client, _, request = (found or b"").partition(b"\n")
        return client.decode(), request

    async def _steps(self, name: str) -> tuple[bytes, ...]:
        steps: list[bytes] = []
        about = (_EVENTS, self._holder, self._lease)
        while some := await self._run(run_scripts.STEPS, name, len(steps), *about, large=True):
            steps += some
        return tuple(steps)

    async def _run(self, script: str, name: str, *given: Any, large: bool = False) -> Any:
        own = (f"{self._prefix}{part}:{name}" for part in ("about", "events", "steps", "lease"))
        keys = [f"{PREFIX}{self._kind.name}", *own, f"{self._prefix}open"]
        return await self._link.run(script, keys, *given, large=large)


class RedisStore:
    """A store that replicas share.

    Args:
        url: Address of the Redis server.
        password: Password, where the address has none.
        lease: Seconds without a sign of life after which a replica counts as dead.

    Raises:
        BadOption: If it is not an address of Redis.
    """

    shared = True

    def __init__(self, url: str, password: str | None = None, *, lease: float = 6.0) -> None:
        self.link = StoreLink(url, password)
        self.quotas = RedisQuotas(self.link)
        self.records = RedisRecords(self.link)
        self.runs = RedisRunLogs(self.link, lease, _RUNS)
        self.batches = RedisRunLogs(self.link, lease, _BATCHES)
        self.attempts = RedisAttempts(self.link)

    @property
    def lost(self) -> bool:
        """Whether Redis is lost."""
        return self.link.lost

    @property
    def losses(self) -> int:
        """How often it was lost."""
        return self.link.losses

    async def check(self) -> None:
        """Check that Redis lets this process in; if it cannot be reached, it may come later.

        Raises:
            BadOption: If it never will.
        """
        await self.link.check()

    async def run(self) -> None:
        """Watch Redis and report what clients spend, until canceled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.link.watch)
            tasks.start_soon(self.quotas.report)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.link.aclose()
