"""Token usage, computed from the events of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dreamr.steps import Role
from dreamr.trace.events import (
    Event,
    JudgeEnded,
    LaneClosed,
    LaneOpened,
    ModelUsage,
    RunStarted,
    StepCommitted,
    StepRejected,
    Usage,
)


def usage_of(events: Iterable[Event]) -> Usage:
    """Count the tokens and judge calls of a run whose lanes are all closed.

    Tokens that were neither committed nor rejected count as `canceled`. Steps of an interrupted
    run that this one continues count as written.
    """
    roles: dict[int, Role] = {}
    written: Counter[Role] = Counter()
    committed: Counter[Role] = Counter()
    rejected = calls = judged = resumed = 0
    for event in events:
        match event:
            case RunStarted(options=options):
                resumed = int(options.get("resumed_steps") or 0)
            case LaneOpened(lane=lane, role=role):
                roles[lane] = role
            case LaneClosed(lane=lane, tokens=tokens):
                written[roles[lane]] += tokens
            case StepCommitted(position=position, step=step, source=source):
                committed[source] += step.tokens
                written[source] += step.tokens if position < resumed else 0
            case StepRejected(step=step):
                rejected += step.tokens
            case JudgeEnded(positions=positions):
                calls += 1
                judged += len(positions)
    return Usage(
        draft=ModelUsage(
            accepted=committed["draft"],
            rejected=rejected,
            canceled=written["draft"] - committed["draft"] - rejected,
        ),
        target=ModelUsage(
            kept=committed["target"], canceled=written["target"] - committed["target"]
        ),
        judge_calls=calls,
        judged=judged,
    )
