"""What a store keeps for the replicas of a gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from dreamr.errors import DreamrError
from dreamr.serving.store.limits import Limits

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Level:
    """What a token bucket holds, which may be less than nothing.

    Attributes:
        size: Amount of one minute, which is the most that it holds.
        level: What it holds.
    """

    size: int
    level: float

    def seconds(self, level: float) -> float:
        """Return the seconds until the bucket has at least this level."""
        return max(0.0, (level - self.level) * _MINUTE / self.size)

    def after(self, seconds: float) -> Level:
        """Return the level after some seconds in which nothing is spent."""
        return Level(self.size, min(float(self.size), self.level + seconds * self.size / _MINUTE))


@dataclass(frozen=True, slots=True)
class Entered:
    """Whether a request of a client may begin.

    Attributes:
        levels: Levels of the buckets of the client, by limit.
        refused: The limit that is reached, None if the request was counted.
    """

    levels: Mapping[str, Level]
    refused: Literal["running", "tokens", "requests"] | None = None


class Quotas(Protocol):
    """What clients with limits use at present."""

    async def enter(
        self, client: str, request: str, limits: Limits, *, again: bool = False
    ) -> Entered:
        """Count a request, unless a limit is reached.

        Args:
            client: Name of the client.
            request: Id of the request.
            limits: Limits of the client; they may differ from those of earlier requests.
            again: Whether the request was let in before, by this replica or another.
        """
        ...

    def spend(self, client: str, request: str, tokens: int) -> None:
        """Count tokens of a request."""
        ...

    async def leave(self, client: str, request: str) -> None:
        """Forget a request that has ended."""
        ...

    def levels(self, client: str) -> Mapping[str, Level]:
        """Return the levels of the buckets of a client, as far as this replica knows."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of records with common bounds. One client gets at most half of the room.

    Attributes:
        name: Name of the kind.
        most: Number of records.
        most_bytes: Bytes of all records.
        evicts: Whether the oldest records make room; otherwise a record without room is refused.
    """

    name: str
    most: int
    most_bytes: int
    evicts: bool = True


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record of a client.

    Attributes:
        name: Its id.
        owner: Name of the client.
        content: Its content.
    """

    name: str
    owner: str
    content: bytes


class RecordStore(Protocol):
    """Records of clients, each for a limited time."""

    async def put(self, kind: Kind, record: StoredRecord, seconds: float, size: int) -> bool:
        """Keep a record, or another content of it; return whether there was room.

        Args:
            kind: Its kind.
            record: The record. It is refused if another client has one of its name.
            seconds: How long it is kept.
            size: Bytes that it counts for.
        """
        ...

    async def get(self, kind: Kind, name: str, owner: str) -> StoredRecord | None:
        """Return a record; None if the client has none of this name."""
        ...

    async def touch(self, kind: Kind, name: str, owner: str, seconds: float) -> bool:
        """Keep a record for longer, as the newest; return whether the client has it."""
        ...

    async def delete(self, kind: Kind, name: str, owner: str) -> bool:
        """Forget a record; return whether the client had it."""
        ...

    async def all(self, kind: Kind, owner: str) -> Sequence[StoredRecord]:
        """Return the records of a client, the oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run that its client can follow from any replica.

    Attributes:
        name: Id of the response.
        owner: Name of the client.
        request: What the run needs to begin.
        steps: Committed steps.
        events: Number of events that were kept.
        canceled: Whether the client has canceled it.
    """

    name: str
    owner: str
    request: bytes
    steps: tuple[bytes, ...] = ()
    events: int = 0
    canceled: bool = False


class StoreLost(DreamrError):
    """A store cannot be reached, or has no room."""


Appended: TypeAlias = Literal["kept", "canceled", "lost"]


class RunLogs(Protocol):
    """The events of runs, in the order in which clients get them.

    The replica that writes a log holds it. If it does not write for some seconds, another takes the
    run over, and the first can write no more.

    Attributes:
        lease: Seconds without a sign of life after which a replica counts as dead.
    """

    lease: float

    async def open(self, run: StoredRun, seconds: float) -> bool:
        """Begin and hold the log of a run; False if there is no room or another replica has it.

        Args:
            run: The run.
            seconds: How long it is kept after its end.
        """
        ...

    async def append(
        self, name: str, events: Sequence[bytes], steps: Sequence[bytes], *, ended: bool = False
    ) -> Appended:
        """Keep events and the steps they are about, unless another replica holds the log.

        Args:
            name: Id of the response.
            events: The next events; none to go on holding the log.
            steps: The next committed steps.
            ended: Whether these are the last events.

        Returns:
            'canceled' if they are kept, but the client has canceled the run; 'lost' if another
            replica holds the log, or the store came back without events or steps that it had.

        Raises:
            StoreLost: If the store is lost: try again later with the same events and steps, which
                are kept once, and those that came after them.
        """
        ...

    async def read(self, name: str, owner: str, after: int) -> tuple[Sequence[bytes], bool] | None:
        """Return the events from a number on, and whether the log has ended.

        Returns:
            None if the client has no such run.
        """
        ...

    async def cancel(self, name: str, owner: str) -> bool:
        """End a run soon; return whether the client has it."""
        ...

    async def take_over(self) -> StoredRun | None:
        """Hold the log of a run whose replica has died; return None if there is none.

        None also for a lease after a loss of the store: until then, the replica may be alive. A
        run that this replica holds is never returned, even if its lease has ended.
        """
        ...

    async def give_back(self, name: str) -> None:
        """Leave a run to other replicas."""
        ...

    async def delete(self, name: str, owner: str) -> bool:
        """Forget a run that has ended; return whether the client had it."""
        ...


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """An attempt at a request that can be repeated.

    Attributes:
        name: Name of the request.
        owner: Name of the client.
        holder: Random name of the attempt.
        digest: Digest of the request; empty for any.
        about: What later attempts must know. Empty if the request must have been attempted before.
    """

    name: str
    owner: str
    holder: str
    digest: str = ""
    about: bytes = b""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was begun, after earlier ones at the same request.

    Attributes:
        name: Name of the request.
        owner: Name of the client.
        holder: Random name of the attempt.
        about: What the first attempt said.
        steps: Committed steps of earlier attempts.
        answer: The answer, if one of them has ended.
    """

    name: str
    owner: str
    holder: str
    about: bytes
    steps: tuple[bytes, ...] = ()
    answer: bytes | None = None


Refused: TypeAlias = Literal["other", "none"]
Committed: TypeAlias = Literal["kept", "superseded", "gone"]


class Attempts(Protocol):
    """Attempts at requests: each continues the committed steps of the one before it.

    The latest attempt at a request holds it. Its former holder can commit no more.
    """

    async def known(self, name: str, owner: str) -> bool:
        """Return whether a client has made an attempt of this name.

        Raises:
            StoreLost: If the store is lost.
        """
        ...

    async def begin(self, new: NewAttempt, seconds: float) -> Attempt | Refused:
        """Begin an attempt.

        Args:
            new: The attempt.
            seconds: How long it is kept, unless a step is committed.

        Returns:
            'other' if the earlier attempts were at another request; 'none' if there are none, or
            no room.

        Raises:
            StoreLost: If the store is lost.
        """
        ...

    async def commit(self, attempt: Attempt, place: int, step: bytes, seconds: float) -> Committed:
        """Keep a committed step; `place` is the number of steps before it.

        Returns:
            'superseded' if a later attempt has begun; 'gone' if none can continue this one: it has
            made room for others, or the store has not all steps before this one.

        Raises:
            StoreLost: If the store is lost.
        """
        ...

    async def end(self, attempt: Attempt, answer: bytes, seconds: float) -> bool:
        """Keep the answer; return False if a later attempt has begun, or this one is gone.

        Raises:
            StoreLost: If the store is lost.
        """
        ...

    async def delete(self, name: str, owner: str) -> None:
        """Forget all attempts of this name.

        Raises:
            StoreLost: If the store is lost.
        """
        ...


class Store(Protocol):
    """All that replicas share."""

    @property
    def attempts(self) -> Attempts | None:
        """Attempts at requests; None if there is no other replica."""
        ...

    @property
    def quotas(self) -> Quotas:
        """What clients with limits use."""
        ...

    @property
    def records(self) -> RecordStore:
        """Responses, files and batches of clients."""
        ...

    @property
    def runs(self) -> RunLogs:
        """Runs that clients can follow from any replica."""
        ...

    @property
    def batches(self) -> RunLogs:
        """Batches, as runs whose committed steps are answers."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other replicas see it."""
        ...

    @property
    def lost(self) -> bool:
        """Whether the store cannot be reached, so that this replica goes on alone."""
        ...

    @property
    def losses(self) -> int:
        """How often it was lost."""
        ...

    async def check(self) -> None:
        """Check that the store can be used; one that cannot be reached may come later.

        Raises:
            BadOption: If it never can.
        """
        ...

    async def run(self) -> None:
        """Do what is due in the background, until canceled."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
