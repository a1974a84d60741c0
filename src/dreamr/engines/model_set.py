"""The open models of a pair, reopened when one is lost."""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from dreamr._messages import describe, reason
from dreamr.engines.open import Model, ModelSource, OpenModel
from dreamr.engines.unopened import UnopenedEngine
from dreamr.errors import EngineError, EngineLost
from dreamr.steps import Role

LOG = logging.getLogger("dreamr.engines")
LOG.addHandler(logging.NullHandler())  # programs that configure no log stay silent

_CHECK_SECONDS = 0.5  # between two looks at idle models; a call that meets a loss is faster
_START_PAUSE = 5.0  # longest pause before an attempt to open a model for the first time
_SHORT_PAUSE = 2.0  # calls wait for the end of shorter pauses, in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenPolicy:
    """Pace of the attempts to reopen a lost model.

    The first attempt follows the loss at once. The pause before each further attempt is twice the
    one before, less a random part, so that several processes do not call a server at the same time.

    Attributes:
        first: First pause, in seconds.
        longest: Longest pause, in seconds.
        within: All attempts within this many seconds count, also successful ones: a model that is
            lost again and again is reopened less and less often. 0 counts attempts that failed
            since the loss.
        patience: Failed attempts for which a call waits. After these, calls during a pause of more
            than two seconds fail.
    """

    first: float = 0.5
    longest: float = 60.0
    within: float = 600.0
    patience: int = 0

    def pause(self, attempts: int) -> float:
        """Return the seconds to wait after this number of attempts."""
        if attempts <= 0:
            return 0.0
        whole = min(self.longest, self.first * 2.0 ** min(attempts - 1, 32))
        return whole * random.uniform(0.5, 1.0)


@dataclass(slots=True, eq=False)
class _Opened:
    """An open model and the number of its users."""

    model: Model
    users: int = 0


@dataclass(slots=True, eq=False)
class _Slot:
    """The model of one role, and the state of its reopening.

    Attributes:
        source: Location of the model.
        opened: The model.
        failures: Attempts that failed since the loss.
        attempts: Times of the last attempts.
        resumes: Time of the next attempt; None if no pause is in progress.
        error: What the last check or attempt failed with.
        noticed: Set by a call that meets a loss.
        answered: Set by a check that a lost model answers: the pause ends.
        changed: Set and replaced whenever an attempt begins or ends, when a pause begins, and when
            a look finds the model alive.
    """

    source: ModelSource
    opened: _Opened
    failures: int = 0
    attempts: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    resumes: float | None = None
    error: str | None = None
    noticed: anyio.Event = field(default_factory=anyio.Event)
    answered: anyio.Event = field(default_factory=anyio.Event)
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def model(self) -> Model:
        return self.opened.model

    @property
    def alive(self) -> bool:
        return self.model.engine.alive

    def change(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class ModelSet(Mapping[Role, Model]):
    """The open models by role. While `supervise` runs, a lost model is opened again.

    A model is lost when its engine is not `alive`: its worker process has ended, or its server
    cannot be reached. Until it is open again, the mapping holds the lost model.

    Args:
        open_model: Opens a model.
        policy: Pace of the attempts to reopen a model. None: lost models stay lost.
    """

    def __init__(self, open_model: OpenModel, policy: ReopenPolicy | None) -> None:
        self._open_model = open_model
        self._policy = policy  # None as soon as lost models stay lost
        self._slots: dict[Role, _Slot] = {}
        self._replaced: list[_Opened] = []  # replaced models that still have users

    def __getitem__(self, role: Role) -> Model:
        return self._slots[role].model

    def __iter__(self) -> Iterator[Role]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def lost(self) -> tuple[Role, ...]:
        """Roles whose model is lost."""
        return tuple(role for role, slot in self._slots.items() if not slot.alive)

    def retry_after(self, role: Role) -> float | None:
        """Return the seconds until the next attempt to reopen a lost model, 0 during an attempt.

        None if the model is not lost, or if lost models are not reopened.
        """
        slot = self._slots[role]
        if slot.alive or self._policy is None:
            return None
        return 0.0 if slot.resumes is None else max(0.0, slot.resumes - anyio.current_time())

    @property
    def image_pixels(self) -> int | None:
        """Number of pixels of an image that is enough for all models; None if it is unknown."""
        used = [slot.model.engine.capabilities.image_pixels for slot in self._slots.values()]
        known = [pixels for pixels in used if pixels is not None]
        return max(known) if known and len(known) == len(used) else None

    async def check(self, role: Role) -> None:
        """Check that a model can be used; one that was lost and answers is opened again at once.

        Raises:
            EngineError: If the check fails.
        """
        slot = self._slots[role]
        model, was_lost = slot.model, not slot.alive
        try:
            await model.engine.check()
        except EngineError as error:
            if slot.model is model and not was_lost:
                slot.error = reason(error)
            raise
        finally:
            if not slot.alive:
                slot.noticed.set()
        if was_lost:
            slot.answered.set()

    def failure(self, role: Role) -> str | None:
        """Return why a lost model is lost or cannot be opened; None if that is unknown."""
        return self._slots[role].error

    async def open(self, source: ModelSource) -> None:
        """Open the model of a role. Raises the errors of the function that opens models."""
        self._slots[source.role] = _Slot(source, _Opened(await self._open_model(source)))

    async def aclose(self) -> None:
        """Close all models."""
        slots, self._slots = self._slots, {}
        opened = [*(slot.opened for slot in slots.values()), *self._replaced]
        self._replaced = []
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for one in opened:
                    tasks.start_soon(one.model.engine.aclose)

    @asynccontextmanager
    async def lease(self, needed: Collection[Role]) -> AsyncGenerator[Mapping[Role, Model]]:
        """Yield the models for one run; they stay open until the block ends.

        A lost model that the run needs is waited for while an attempt to reopen it is in progress.

        Args:
            needed: Roles whose models must be usable. Others may be lost.

        Raises:
            EngineLost: If a needed model is lost and cannot be opened at present.
        """
        for role in needed:
            await self._usable(self._slots[role])
        leased = {role: slot.opened for role, slot in self._slots.items()}
        for one in leased.values():
            one.users += 1
        try:
            yield {role: one.model for role, one in leased.items()}
        finally:
            for one in leased.values():
                one.users -= 1
            for slot in self._slots.values():
                if not slot.alive:
                    slot.noticed.set()
            await self._close_unused()

    async def lose(self) -> Role:
        """Wait until a model is lost and return its role."""
        while not (lost := self.lost):
            await anyio.sleep(_CHECK_SECONDS)
        return lost[0]

    async def supervise(self) -> None:
        """Reopen models that are lost, until canceled. Lost models then stay lost."""
        if self._policy is None:
            return
        try:
            async with anyio.create_task_group() as tasks:
                for slot in self._slots.values():
                    tasks.start_soon(self._supervise, slot, self._policy)
        finally:
            self._policy = None
            for slot in self._slots.values():
                slot.change()

    async def _supervise(self, slot: _Slot, policy: ReopenPolicy) -> None:
        while True:
            with anyio.move_on_after(_CHECK_SECONDS):
                await slot.noticed.wait()
            slot.noticed = anyio.Event()
            if slot.alive:
                slot.change()  # a call may have met a loss and wait for an attempt
            else:
                role, again = slot.source.role, ""
                if not isinstance(slot.model.engine, UnopenedEngine):
                    why, again = f" ({slot.error})" if slot.error else "", " again"
                    LOG.warning("%s lost: %s%s", role, slot.model.engine.name, why)
                await self._reopen(slot, policy)
                LOG.warning("%s is available%s", role, again)

    async def _reopen(self, slot: _Slot, policy: ReopenPolicy) -> None:
        slot.failures, lost = 0, slot.opened
        while slot.opened is lost:  # also if it answers again: its server may have been restarted
            await _pause(slot, policy)
            role, number = slot.source.role, slot.failures + 1
            LOG.info("opening the %s again, attempt %d", role, number)
            slot.attempts.append(anyio.current_time())
            try:
                await self._replace(slot)
            except Exception as error:  # code of other distributions too: the next attempt may work
                text = reason(error) if isinstance(error, EngineError) else describe(error)
                slot.failures, slot.error = number, text
                LOG.warning("attempt %d to open the %s failed: %s", number, role, slot.error)
            else:
                slot.error = None
        slot.change()

    async def _replace(self, slot: _Slot) -> None:
        new = await self._open_model(slot.source)
        before, after = slot.model.engine.name, new.engine.name
        if before != after and not isinstance(slot.model.engine, UnopenedEngine):
            with anyio.CancelScope(shield=True):
                await new.engine.aclose()
            raise EngineError(f"found {after} instead of {before}: serve the same model again")
        old, slot.opened = slot.opened, _Opened(new)
        self._replaced.append(old)
        slot.change()
        await self._close_unused()

    async def _close_unused(self) -> None:
        """Close models that were replaced and have no users any more."""
        unused = [one for one in self._replaced if not one.users]
        self._replaced = [one for one in self._replaced if one.users]
        with anyio.CancelScope(shield=True):
            for one in unused:
                await one.model.engine.aclose()

    async def _usable(self, slot: _Slot) -> None:
        """Wait until a model is not lost; raise if that takes longer than an attempt."""
        while not slot.alive:
            role = slot.source.role
            if self._policy is None:
                raise EngineLost(f"the {role} is lost: {slot.model.engine.name}")
            left = self.retry_after(role) or 0.0
            if left > _SHORT_PAUSE and slot.failures >= self._policy.patience:
                reason = f": {slot.error}" if slot.error else ""
                raise EngineLost(
                    f"the {role} is lost and not open again yet{reason}", math.ceil(left)
                )
            changed = slot.changed
            slot.noticed.set()
            await changed.wait()


async def _pause(slot: _Slot, policy: ReopenPolicy) -> None:
    now = anyio.current_time()
    recent = sum(time > now - policy.within for time in slot.attempts)
    seconds = policy.pause(max(slot.failures, recent))
    if isinstance(slot.model.engine, UnopenedEngine):  # its server is starting
        seconds = min(seconds, _START_PAUSE)
    if seconds > 0:
        slot.resumes = now + seconds
        slot.change()
        with anyio.move_on_after(seconds):
            await slot.answered.wait()
        slot.resumes = None
    slot.answered = anyio.Event()
    slot.change()
