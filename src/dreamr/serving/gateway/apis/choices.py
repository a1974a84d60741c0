"""Several answers to one request: runs side by side with seeds of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from dreamr.trace import (
    DeadlineNear,
    Event,
    ModelUsage,
    Result,
    RunStarted,
    StepCommitted,
    Usage,
)


@dataclass(frozen=True, slots=True)
class ChoiceEvent(Event):
    """An event of one of several runs.

    Attributes:
        index: Number of the run, from 0.
        event: The event.
    """

    index: int
    event: Event


def merged(results: Sequence[Result]) -> Result:
    """Return one result with the steps and the usage of several; the answer is the first one's.

    Of the events, those are kept that responses are built from. Measurements need single results.
    """
    first = results[0]
    every = [event for result in results for event in result.events]
    started = [event for event in first.events if isinstance(event, RunStarted)]
    committed = [event for event in every if isinstance(event, StepCommitted)]
    near = [event for event in every if isinstance(event, DeadlineNear)]
    stages: dict[str, Event] = {}
    for event in sorted(near, key=lambda event: event.time):
        stages.setdefault(event.stage, event)
    return replace(
        first,
        steps=tuple(step for result in results for step in result.steps),
        usage=_sum([result.usage for result in results]),
        seconds=max(result.seconds for result in results),
        events=(*started, *committed, *stages.values()),
    )


def _sum(usages: Sequence[Usage]) -> Usage:
    return Usage(
        draft=_sum_model([usage.draft for usage in usages]),
        target=_sum_model([usage.target for usage in usages]),
        judge_calls=sum(usage.judge_calls for usage in usages),
        judged=sum(usage.judged for usage in usages),
    )


def _sum_model(usages: Sequence[ModelUsage]) -> ModelUsage:
    names = [field.name for field in fields(ModelUsage)]
    return ModelUsage(**{name: sum(getattr(usage, name) for usage in usages) for name in names})
