"""What one attempt at a request leaves to the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dreamr.serving.gateway.apis.protocol import Identity, Reply
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.run_log import AnswerPart, dumped, loaded
from dreamr.serving.store import Attempt, Attempts, StoreLost
from dreamr.trace import CommittedStep, Event, StepCommitted

_MOST_STEPS = 2**20  # bytes of the committed steps of a run
_MOST_ANSWER = 2**22  # bytes of an answer
_END = b"\n\n"  # of an event


class AttemptLog:
    """Keeps the committed steps of a run before its client gets them, and the answer at its end.

    Args:
        attempts: Where they are kept.
        attempt: The attempt, as it began.
        seconds: How long the steps are kept, and then the answer.

    Attributes:
        identity: Name and time of the response.
        body: The first request, if it was kept.
        committed: Steps of earlier attempts.
        answer: The answer, if an earlier attempt has ended.
        on_lost: Called once with an error when a later attempt has begun.
    """

    def __init__(self, attempts: Attempts, attempt: Attempt, seconds: tuple[float, float]) -> None:
        about = json.loads(attempt.about)
        self.identity = Identity(attempt.name, about["created"])
        self.body: str = about["body"]
        self.committed: tuple[CommittedStep, ...] = loaded(attempt.steps)
        self.answer = attempt.answer
        self.on_lost: Callable[[ApiError], Any] = lambda error: None
        self._attempts, self._attempt, self._seconds = attempts, attempt, seconds
        self._part = AnswerPart()
        self._sent: list[bytes] = []
        self._steps_left = _MOST_STEPS - sum(map(len, attempt.steps))
        self._answer_left = _MOST_ANSWER
        self._open = True

    async def note(self, event: Event) -> None:
        """Keep a committed step, unless it belongs to the answer or was kept before."""
        if self._part.holds(event) or not isinstance(event, StepCommitted) or not self._open:
            return
        if event.position < len(self.committed):
            return
        step = dumped(event)
        self._steps_left -= len(step)
        if self._steps_left < 0:  # the next attempt begins before this step
            self._open = False
            return
        try:
            found = await self._attempts.commit(
                self._attempt, event.position, step, self._seconds[0]
            )
            if found == "superseded":
                self.lose()
            elif found == "gone":  # no attempt continues it
                self._open = False
        except StoreLost:
            self._open = False

    def sent(self, data: bytes) -> None:
        """Note a part of the answer as its client gets it."""
        self._answer_left -= len(data)
        if self._answer_left >= 0:
            self._sent.append(data)
        else:
            self._sent.clear()

    async def end(self) -> None:
        """Keep the answer, unless it is too long."""
        if not self._sent:
            return
        try:
            await self._attempts.end(self._attempt, b"".join(self._sent), self._seconds[1])
        except StoreLost:
            return  # the next attempt repeats it

    def lose(self) -> None:
        """End this attempt: a later one goes on."""
        if self._open:
            self._open = False
            self.on_lost(_superseded())

    def certain(self, reply: Reply) -> int:
        """Return the number of events of a stream that follow from the committed steps.

        Args:
            reply: A new builder of the response.
        """
        steps = (
            StepCommitted(0.0, place, one.step, one.source, one.verdict)
            for place, one in enumerate(self.committed)
        )
        return sum(1 for _ in reply.opening()) + sum(1 for one in steps for _ in reply.events(one))


def split_events(answer: bytes) -> list[bytes]:
    """Return the events of a stream that has ended."""
    return [event + _END for event in answer.split(_END)[:-1]]


def _superseded() -> ApiError:
    return ApiError(
        409,
        "a later request with the same Idempotency-Key, or for the same response, continues "
        "this answer",
        code="superseded",
    )
