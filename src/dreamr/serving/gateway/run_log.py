"""The events of a run that another replica can continue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import anyio
from pydantic import TypeAdapter

from dreamr.serving.gateway.apis.protocol import Reply, ServerEvent
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.store import StoredRun
from dreamr.trace import (
    AnswerExtended,
    CommittedStep,
    Event,
    Result,
    RunFinished,
    RunStarted,
    StepCommitted,
)

_STEP: TypeAdapter[CommittedStep] = TypeAdapter(CommittedStep)


@dataclass(slots=True)
class AnswerPart:
    """Tells what belongs to the answer, which no replica can continue: it is written again."""

    _begun: bool = False

    def holds(self, event: Event) -> bool:
        """Return whether an event of a run belongs to the answer; called with each in order."""
        match event:
            case RunStarted(options=options):  # reasoning and answer in one request of the target
                self._begun = bool(options.get("pass_through"))
                return False
            case AnswerExtended() | StepCommitted(last=True):
                self._begun = True
                return True
            case StepCommitted():
                return self._begun
        return False


@dataclass(eq=False, slots=True)
class RunLog:
    """The events of a run here, until they are in the store.

    What the store has is a function of the committed steps it has: a replica that continues them
    sends the same events again, and skips as many as were sent. So the last step and the answer are
    kept back until the run has ended.

    Attributes:
        run: The run as it was when this replica began.
        events: Events of the run, with those of other replicas as they were made again here.
        steps: Committed steps that the store does not have.
        flushed: Number of events that the store has.
        ended: Whether there are no more events.
        done: Whether the store has all of them, or another replica holds the run.
    """

    run: StoredRun
    events: list[bytes] = field(default_factory=list)
    steps: list[bytes] = field(default_factory=list)
    flushed: int = 0
    ended: bool = False
    done: bool = False
    _waiting: list[Event] = field(default_factory=list)
    _answer: AnswerPart = field(default_factory=AnswerPart)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.flushed = self.run.events

    @property
    def committed(self) -> tuple[CommittedStep, ...]:
        """The steps with which the run begins."""
        return loaded(self.run.steps)

    def add(self, events: Iterable[ServerEvent]) -> None:
        """Add events."""
        self.events += map(bytes, events)
        self.notify()

    def note(self, reply: Reply, event: Event) -> None:
        """Add what an event of the run adds to the response, except for its end."""
        if isinstance(event, RunFinished):
            return
        if self._answer.holds(event):
            self._waiting.append(event)
            return
        if isinstance(event, StepCommitted) and event.position >= len(self.run.steps):
            self.steps.append(dumped(event))
        self.add(reply.events(event))

    def closing(self, reply: Reply, result: Result, prompt: int) -> list[ServerEvent]:
        """Return the last events of a response."""
        closing: list[ServerEvent] = []
        for event in (*self._waiting, RunFinished(result.seconds, result)):
            closing += reply.events(event)
        return [*closing, *reply.closing(result, prompt)]

    def fail(self, reply: Reply | None, error: ApiError) -> None:
        """Add the error that ends a response."""
        if reply is not None and len(self.events) >= self.flushed:
            self.end(reply.failure(error))
            return
        about = {"code": error.code or "server_error", "message": error.message}
        self.end([self._last("failed", about)])

    def cancel(self) -> None:
        """Add the end of a response that its client has canceled."""
        self.end([self._last("cancelled", None)])

    def end(self, events: Iterable[ServerEvent]) -> None:
        """Add the last events."""
        self.ended = True
        self.add(events)

    def _last(self, status: str, error: dict[str, Any] | None) -> ServerEvent:
        kind = f"response.{status}"
        response: dict[str, Any] = {
            "id": self.run.name, "object": "response", "status": status, "error": error,
            "output": [],
        }  # fmt: skip
        self.events += [b""] * (self.flushed - len(self.events))  # others have sent them
        number = len(self.events)
        return ServerEvent({"type": kind, "sequence_number": number, "response": response}, kind)

    def notify(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()
        self._changed = anyio.Event()

    async def change(self, seconds: float) -> None:
        """Wait for a change, at most for some seconds."""
        changed = self._changed
        with anyio.move_on_after(seconds):
            await changed.wait()


def dumped(event: StepCommitted) -> bytes:
    """Return the step of an event as it is stored."""
    step = CommittedStep(event.step, event.source, event.verdict)
    return json.dumps(asdict(step), default=_value).encode()


def loaded(steps: Iterable[bytes]) -> tuple[CommittedStep, ...]:
    """Return steps that were stored."""
    return tuple(_STEP.validate_python(json.loads(step)) for step in steps)


def _value(one: object) -> Any:
    if isinstance(one, Enum):
        return one.value
    raise TypeError(f"cannot write {type(one).__name__}")


def event_data(event: bytes) -> dict[str, Any]:
    """Return the data of an event of a stream."""
    data: dict[str, Any] = json.loads(next(_data(event)))
    return data


def _data(event: bytes) -> Iterator[bytes]:
    for line in event.split(b"\n"):
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ")
