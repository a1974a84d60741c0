"""Statistics of a run: the object `dreamr` of a response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from dreamr._load import Level
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.trace import Result, RunStarted, StepCommitted


@dataclass(slots=True)
class Summary:
    """Describes the run of one request.

    Attributes:
        parsed: The request.
        alone: Estimates the seconds of the target alone for a result; None if unknown.
        level: Reduction of speculation that the run was subject to.
        attachments: What was read of the attachments, once they are decoded.
        choices: Results of the single runs, once there are several.
    """

    parsed: ParsedRequest
    alone: Callable[[Result], float | None]
    level: Level = Level.FULL
    attachments: list[dict[str, Any]] = field(default_factory=list)
    choices: tuple[Result, ...] = ()

    def of(self, result: Result) -> dict[str, Any]:
        """Return the statistics of a run."""
        return {
            "method": self.parsed.options.method,
            "level": self.level.name.lower(),
            "seconds": result.seconds,
            "target_alone_seconds": self._alone(result),
            "steps": [described(event) for event in committed(result)],
            "usage": asdict(result.usage),
            "finish": result.finish,
            "pass_through": pass_through(result),
            "deadline": {
                "seconds": self.parsed.deadline,
                "stages": list(result.deadline_stages),
            },
            "attachments": self.attachments,
            "ignored": list(self.parsed.ignored),
            "ignored_count": self.parsed.ignored_count,
        }

    def _alone(self, result: Result) -> float | None:
        """Estimate the seconds of the target alone; runs side by side take as long as one."""
        found = [self.alone(one) for one in self.choices or (result,)]
        return max((seconds for seconds in found if seconds is not None), default=None)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of a completion.

    Attributes:
        completion: Tokens of committed steps, answer included.
        reasoning: Tokens of committed steps before the answer.
    """

    completion: int
    reasoning: int

    @classmethod
    def of(cls, result: Result) -> TokenCounts:
        """Count the tokens of a result."""
        steps = committed(result)
        return cls(
            sum(event.step.tokens for event in steps),
            sum(event.step.tokens for event in steps if not answers(event)),
        )


def pass_through(result: Result) -> str | None:
    """Return why the target answered alone, without speculation; None if it did not."""
    for event in result.events[:1]:
        if isinstance(event, RunStarted) and (why := event.options.get("pass_through")):
            return str(why)
    return None


def committed(result: Result) -> list[StepCommitted]:
    """Return the committed steps of a run."""
    return [event for event in result.events if isinstance(event, StepCommitted)]


def answers(event: StepCommitted) -> bool:
    """Return whether a step is sent as the answer rather than as reasoning."""
    return event.step.is_answer or event.last


def described(event: StepCommitted) -> dict[str, Any]:
    """Return a committed step as JSON."""
    return {
        "position": event.position,
        "source": event.source,
        "tokens": event.step.tokens,
        "score": None if event.verdict is None else round(event.verdict.score, 6),
        "kind": None if event.verdict is None else event.verdict.kind,
        "seconds": round(event.time, 6),
    }
