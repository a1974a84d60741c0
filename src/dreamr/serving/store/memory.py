"""A store in the memory of one process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio

from dreamr.serving.store.limits import NO_LIMITS, Limits
from dreamr.serving.store.protocol import Appended, Entered, Kind, Level, StoredRecord, StoredRun

_MOST_RUNS = 1000  # logs of runs
_MOST_RUN_BYTES = 64 * 2**20  # of all of them


@dataclass(eq=False, slots=True)
class _Use:
    """What a client uses at present."""

    running: int = 0
    levels: dict[str, Level] = field(default_factory=dict)
    filled: float = 0.0


class MemoryQuotas:
    """Quotas of one process.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[str, _Use] = {}  # of clients with limits, which are named in a file

    async def enter(
        self, client: str, request: str, limits: Limits, *, again: bool = False
    ) -> Entered:
        """Count a request, unless a limit is reached."""
        if limits == NO_LIMITS:
            self._uses.pop(client, None)
            return Entered({})
        use = self._uses.setdefault(client, _Use(filled=self._clock()))
        self._resize(use, limits)
        if not again:
            tokens, requests = use.levels.get("tokens"), use.levels.get("requests")
            if limits.running is not None and use.running >= limits.running:
                return Entered(dict(use.levels), "running")
            if tokens is not None and tokens.level < 1:
                return Entered(dict(use.levels), "tokens")
            if requests is not None:
                if requests.level < 1:
                    return Entered(dict(use.levels), "requests")
                use.levels["requests"] = Level(requests.size, requests.level - 1)
        use.running += 1
        return Entered(dict(use.levels))

    def spend(self, client: str, request: str, tokens: int) -> None:
        """Count tokens of a request."""
        if (use := self._uses.get(client)) is not None and "tokens" in use.levels:
            self._fill(use)
            bucket = use.levels["tokens"]
            use.levels["tokens"] = Level(bucket.size, bucket.level - tokens)

    async def leave(self, client: str, request: str) -> None:
        """Forget a request that has ended."""
        if (use := self._uses.get(client)) is not None:
            use.running = max(0, use.running - 1)

    def levels(self, client: str) -> Mapping[str, Level]:
        """Return the levels of the buckets of a client."""
        if (use := self._uses.get(client)) is None:
            return {}
        self._fill(use)
        return dict(use.levels)

    def _fill(self, use: _Use) -> None:
        """Add what has come in since the last call."""
        now = self._clock()
        for name, level in use.levels.items():
            use.levels[name] = level.after(now - use.filled)
        use.filled = now

    def _resize(self, use: _Use, limits: Limits) -> None:
        """Change the amounts per minute; what was used stays used."""
        self._fill(use)
        for name, size in (("requests", limits.requests), ("tokens", limits.tokens)):
            before = use.levels.pop(name, None)
            if size is not None:
                level = size if before is None else before.level + size - before.size
                use.levels[name] = Level(size, float(level))


@dataclass(frozen=True, slots=True)
class _Kept:
    record: StoredRecord
    size: int
    ends: float


class MemoryRecords:
    """Records of one process.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, OrderedDict[str, _Kept]] = {}  # the oldest first

    async def put(self, kind: Kind, record: StoredRecord, seconds: float, size: int) -> bool:
        """Keep a record, or another content of it; return whether there was room."""
        kept = self._of(kind)
        if size > kind.most_bytes // 2:
            return False
        before = kept.get(record.name)
        if before is not None and before.record.owner != record.owner:
            return False
        others = {name: one for name, one in kept.items() if one is not before}
        own = [name for name, one in others.items() if one.record.owner == record.owner]
        used = sum(others[name].size for name in own)
        total = sum(one.size for one in others.values())
        leaving: list[str] = []
        while own and (len(own) >= kind.most // 2 or used + size > kind.most_bytes // 2):
            leaving.append(own.pop(0))
            used -= others[leaving[-1]].size
            total -= others[leaving[-1]].size
        rest = [name for name in others if name not in leaving]
        while rest and (len(rest) >= kind.most or total + size > kind.most_bytes):
            leaving.append(rest.pop(0))
            total -= others[leaving[-1]].size
        if leaving and not kind.evicts:
            return False
        for name in leaving:
            del kept[name]
        kept[record.name] = _Kept(record, size, self._clock() + seconds)
        return True

    async def get(self, kind: Kind, name: str, owner: str) -> StoredRecord | None:
        """Return a record; None if the client has none of this name."""
        found = self._of(kind).get(name)
        return found.record if found is not None and found.record.owner == owner else None

    async def touch(self, kind: Kind, name: str, owner: str, seconds: float) -> bool:
        """Keep a record for longer; return whether the client has it."""
        if await self.get(kind, name, owner) is None:
            return False
        kept = self._of(kind)
        kept[name] = replace(kept[name], ends=self._clock() + seconds)
        kept.move_to_end(name)
        return True

    async def delete(self, kind: Kind, name: str, owner: str) -> bool:
        """Forget a record; return whether the client had it."""
        if await self.get(kind, name, owner) is None:
            return False
        del self._of(kind)[name]
        return True

    async def all(self, kind: Kind, owner: str) -> Sequence[StoredRecord]:
        """Return the records of a client, the oldest first."""
        return [one.record for one in self._of(kind).values() if one.record.owner == owner]

    def _of(self, kind: Kind) -> OrderedDict[str, _Kept]:
        kept, now = self._kinds.setdefault(kind.name, OrderedDict()), self._clock()
        for name in [name for name, one in kept.items() if one.ends <= now]:
            del kept[name]
        return kept


@dataclass(eq=False, slots=True)
class _Log:
    run: StoredRun
    seconds: float
    events: list[bytes] = field(default_factory=list)
    ended: float | None = None
    canceled: bool = False


class MemoryRunLogs:
    """Logs of the runs of one process, which end with it.

    Args:
        clock: Returns the time in seconds.
    """

    lease = 6.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logs: dict[str, _Log] = {}

    async def open(self, run: StoredRun, seconds: float) -> bool:
        """Begin the log of a run; return whether there was room."""
        self._purge()
        own = [log for log in self._logs.values() if log.run.owner == run.owner]
        full = len(self._logs) >= _MOST_RUNS or len(own) >= _MOST_RUNS // 2
        if full or self._bytes + len(run.request) > _MOST_RUN_BYTES:
            return False
        self._logs[run.name] = _Log(run, seconds)
        return True

    async def append(
        self, name: str, events: Sequence[bytes], steps: Sequence[bytes], *, ended: bool = False
    ) -> Appended:
        """Keep events, unless the run is forgotten."""
        if (log := self._logs.get(name)) is None:
            return "lost"
        log.events += events
        if ended:
            log.ended = self._clock()
        return "canceled" if log.canceled else "kept"

    async def read(self, name: str, owner: str, after: int) -> tuple[Sequence[bytes], bool] | None:
        """Return the events from a number on, and whether the log has ended."""
        self._purge()
        if (log := self._find(name, owner)) is None:
            return None
        return log.events[after:], log.ended is not None

    async def cancel(self, name: str, owner: str) -> bool:
        """End a run soon; return whether the client has it."""
        if (log := self._find(name, owner)) is not None:
            log.canceled = True
        return log is not None

    async def take_over(self) -> StoredRun | None:
        """Return None: there is no other process."""
        return None

    async def give_back(self, name: str) -> None:
        """Forget a run: there is no other process."""
        self._logs.pop(name, None)

    async def delete(self, name: str, owner: str) -> bool:
        """Forget a run that has ended; return whether the client had it."""
        log = self._find(name, owner)
        if log is None or log.ended is None:
            return False
        del self._logs[name]
        return True

    @property
    def _bytes(self) -> int:
        return sum(len(log.run.request) + sum(map(len, log.events)) for log in self._logs.values())

    def _find(self, name: str, owner: str) -> _Log | None:
        log = self._logs.get(name)
        return log if log is not None and log.run.owner == owner else None

    def _purge(self) -> None:
        now = self._clock()
        for name, log in list(self._logs.items()):
            if log.ended is not None and log.ended + log.seconds <= now:
                del self._logs[name]


class MemoryStore:
    """A store of one process.

    Args:
        clock: Returns the time in seconds.
    """

    shared = False
    lost = False
    losses = 0
    attempts = None

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.quotas = MemoryQuotas(clock)
        self.records = MemoryRecords(clock)
        self.runs = MemoryRunLogs(clock)
        self.batches = MemoryRunLogs(clock)

    async def check(self) -> None:
        """Do nothing: memory can always be used."""

    async def run(self) -> None:
        """Wait until canceled."""
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        """Do nothing: memory is freed by itself."""
