"""Quotas that replicas share through Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any, cast
from uuid import uuid4

import anyio

from dreamr.serving.store import scripts
from dreamr.serving.store.limits import NO_LIMITS, Limits
from dreamr.serving.store.link import StoreLink
from dreamr.serving.store.memory import MemoryQuotas
from dreamr.serving.store.protocol import Entered, Level, StoreLost

PREFIX = "dreamr:{gateway}:"  # braces: in a cluster, all on one server
_SETTLE = 0.5  # seconds between two reports of what clients spend
_HELD = 30.0  # seconds after which the requests of a replica that does not report count as dead


def digest_of(client: str) -> str:
    """Return what stands for a client in Redis, which does not learn names and addresses."""
    return sha256(f"dreamr {client}".encode()).hexdigest()[:32]


@dataclass(eq=False, slots=True)
class _Use:
    """What a client uses here.

    Attributes:
        levels: Levels of its buckets, as Redis last said.
        at: Time of that.
        spent: Tokens that no report has named yet.
        sent: Number and tokens of a report whose reply is not there, or was lost.
        running: Its requests.
        reported: When they were last reported.
        settling: Held during a report, so that none arrives after a later one: it would name
            requests as running that have ended.
    """

    levels: Mapping[str, Level] = field(default_factory=dict)
    at: float = 0.0
    spent: int = 0
    sent: tuple[int, int] | None = None
    running: set[str] = field(default_factory=set)
    reported: float = 0.0
    settling: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def unknown(self) -> int:
        """Tokens that Redis may not know yet."""
        return self.spent + (0 if self.sent is None else self.sent[1])

    def note(self, levels: Mapping[str, Level]) -> None:
        """Note what Redis said."""
        self.levels, self.at = levels, anyio.current_time()
        self.reported = self.at


class RedisQuotas:
    """Quotas of all replicas. While Redis is lost, each has its own.

    Args:
        link: Link to Redis.
    """

    def __init__(self, link: StoreLink) -> None:
        self._link, self._local = link, MemoryQuotas()
        self._alone: set[str] = set()  # requests that began while Redis was lost
        self._uses: dict[str, _Use] = {}
        self._name, self._numbers = uuid4().hex, count(1)

    async def enter(
        self, client: str, request: str, limits: Limits, *, again: bool = False
    ) -> Entered:
        """Count a request, unless a limit is reached."""
        if limits == NO_LIMITS:
            return Entered({})
        given = ("" if one is None else one for one in (limits.running, limits.requests,
                 limits.tokens))  # fmt: skip
        try:
            found = await self._run(scripts.ENTER, client, request, _HELD, int(again), *given)
        except StoreLost:
            entered = await self._local.enter(client, request, limits, again=again)
            if entered.refused is None:  # a refused request is not left
                self._alone.add(request)
            return entered
        use = self._uses.setdefault(client, _Use())
        use.note(_levels(found[1:]))
        if refused := found[0].decode():
            self._forget(client)
            return Entered(use.levels, cast("Any", refused))
        use.running.add(request)
        return Entered(use.levels)

    def spend(self, client: str, request: str, tokens: int) -> None:
        """Count tokens of a request; Redis hears of them within a second."""
        if request in self._alone:
            self._local.spend(client, request, tokens)
        elif (use := self._uses.get(client)) is not None:
            use.spent += tokens

    async def leave(self, client: str, request: str) -> None:
        """Forget a request that has ended."""
        if request in self._alone:
            self._alone.discard(request)
            await self._local.leave(client, request)
        elif (use := self._uses.get(client)) is not None:
            use.running.discard(request)
            with anyio.CancelScope(shield=True):  # a link's time is bounded
                await self._settle(client, use, request)
            self._forget(client)

    def levels(self, client: str) -> Mapping[str, Level]:
        """Return the levels of the buckets of a client, as far as this replica knows."""
        if (use := self._uses.get(client)) is None:
            return self._local.levels(client)
        found = {name: one.after(anyio.current_time() - use.at) for name, one in use.levels.items()}
        if (tokens := found.get("tokens")) is not None:
            found["tokens"] = Level(tokens.size, tokens.level - use.unknown)
        return found

    async def report(self) -> None:
        """Tell Redis what clients spend, until canceled."""
        while True:
            await anyio.sleep(_SETTLE)
            now = anyio.current_time()
            for client, use in list(self._uses.items()):
                if use.unknown or (use.running and now - use.reported > _HELD / 3):
                    await self._settle(client, use)
                    self._forget(client)

    async def _settle(self, client: str, use: _Use, ended: str = "") -> None:
        async with use.settling:
            try:
                if use.sent is not None:  # a report whose reply was lost is sent again as it was
                    await self._send(client, use)
                if use.spent:
                    use.sent, use.spent = (next(self._numbers), use.spent), 0
                await self._send(client, use, ended)
            except StoreLost:
                return  # it is reported later

    async def _send(self, client: str, use: _Use, ended: str = "") -> None:
        given = (_HELD, *(use.sent or (0, 0)), ended, *use.running)
        use.note(_levels(await self._run(scripts.SETTLE, client, *given)))
        use.sent = None

    def _forget(self, client: str) -> None:
        use = self._uses.get(client)
        if use is not None and not use.running and not use.unknown:
            del self._uses[client]

    async def _run(self, script: str, client: str, *given: Any) -> Any:
        digest = digest_of(client)
        keys = [f"{PREFIX}{name}:{digest}" for name in ("quota", "running", "report")]
        keys[-1] += f":{self._name}"
        return await self._link.run(script, keys, *given)


def _levels(found: Sequence[bytes]) -> dict[str, Level]:
    """Return levels from name, size and level of each."""
    values = iter(found)
    return {
        name.decode(): Level(int(size), float(level))
        for name, size, level in zip(values, values, values, strict=True)
    }
