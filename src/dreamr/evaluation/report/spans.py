"""Evaluation of the spans of a run: busy time of a lane, decisions that can be checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dreamr.evaluation.bench import Span
from dreamr.trace import LaneName

LANES: tuple[LaneName, ...] = ("draft", "judge", "target")


def checkable(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield the drafted steps whose verdict the task's checker can grade.

    A verdict says whether a step is right given the text before it. The checker knows the steps of
    a correct text, but not what should follow a mistake. So only decided steps are yielded for
    which every committed step before them is known to be right. In a run with a mistake these are
    the steps up to and including the first wrong committed step, with the steps rejected on the
    way. Steps that the checker cannot grade are left out.
    """
    spans = tuple(spans)
    end = _end_of_right(spans)
    for span in spans:
        if span.decided and span.right is not None and span.position <= end:
            yield span


def _end_of_right(spans: Sequence[Span]) -> int:
    """Return the first position without a committed step that is known to be right."""
    right = {span.position for span in spans if span.committed and span.right}
    return next(at for at in range(len(right) + 1) if at not in right)


def busy(spans: Iterable[Span], lane: LaneName, seconds: float) -> float:
    """Return the seconds in which a lane had work; overlapping spans count once.

    Args:
        spans: Spans of a run.
        lane: Lane to measure.
        seconds: Duration of the run; later work is not counted.
    """
    total = until = 0.0
    for span in sorted((s for s in spans if s.lane == lane), key=lambda s: s.start):
        start, end = max(span.start, until), min(span.end, seconds)
        total += max(0.0, end - start)
        until = max(until, end)
    return total
