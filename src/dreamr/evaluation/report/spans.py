"""What the spans of a run show: how long a lane was busy, which verdicts can be checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dreamr.evaluation.bench import Span
from dreamr.trace import LaneName

LANES: tuple[LaneName, ...] = ("draft", "judge", "target")


def checkable(spans: Iterable[Span]) -> Iterator[Span]:
    """The drafted steps whose verdict the task's checker can call right or wrong.

    A verdict says whether a step is right after the text before it. The checker knows what each
    step of a right text must say; what must follow a mistake it does not know. So these are the
    decided steps at positions before which every committed step is known to be right: in a run
    with a mistake, those up to and including the first wrong one that was committed, together with
    what was rejected on the way. Steps that the checker says nothing about are left out.
    """
    spans = tuple(spans)
    end = _end_of_right(spans)
    for span in spans:
        if span.decided and span.right is not None and span.position <= end:
            yield span


def _end_of_right(spans: Sequence[Span]) -> int:
    """The first position whose committed step is not known to be right, or was never committed."""
    right = {span.position for span in spans if span.committed and span.right}
    return next(at for at in range(len(right) + 1) if at not in right)


def busy(spans: Iterable[Span], lane: LaneName, seconds: float) -> float:
    """Seconds of a run of `seconds` in which the lane had work, what overlaps counted once."""
    total = until = 0.0
    for span in sorted((s for s in spans if s.lane == lane), key=lambda s: s.start):
        start, end = max(span.start, until), min(span.end, seconds)
        total += max(0.0, end - start)
        until = max(until, end)
    return total
