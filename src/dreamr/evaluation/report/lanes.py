"""Layout of lane charts: horizontal positions in percent, vertical ones in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import cast

from dreamr.evaluation.bench import Sample, Span
from dreamr.evaluation.report.aggregate import pairs
from dreamr.evaluation.report.columns import plain, seconds
from dreamr.evaluation.report.spans import LANES
from dreamr.gate import SCORE_NAMES, ScoreKind

ROW, GAP = 26, 8  # height of a row and of the space around a lane's rows, in pixels

_FATES = {
    "accepted": "drafted step, accepted",
    "rejected": "drafted step, rejected",
    "kept": "target's step",
    "canceled": "discarded",
    "judging": "judge call",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A bar of a lane chart.

    Attributes:
        left: Distance from the left edge in percent.
        width: Width in percent.
        top: Distance from the top edge in pixels.
        kind: Fate of the span, as a class of the page's style.
        wrong: Whether the task's checker calls the step wrong.
        label: Short text on the bar.
        about: Description of the span.
    """

    left: float
    width: float
    top: int
    kind: str
    wrong: bool
    label: str
    about: str


@dataclass(frozen=True, slots=True)
class Track:
    """A lane of a chart.

    Attributes:
        name: Name of the lane.
        top: Distance from the top edge in pixels.
        height: Height in pixels.
        segments: Bars of the lane.
    """

    name: str
    top: int
    height: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class LaneChart:
    """Lanes of one problem with a method, below the target alone on the same time scale.

    Attributes:
        title: Title of the chart.
        tracks: Lanes from top to bottom.
        ticks: Position in percent and text of each tick.
    """

    title: str
    tracks: tuple[Track, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def height(self) -> int:
        """Height of all lanes in pixels."""
        return sum(track.height for track in self.tracks)


def charts(samples: Iterable[Sample], method: str, base: str = "target") -> tuple[LaneChart, ...]:
    """Return charts of the problems with the best, the median and the worst speed-up.

    Only samples at concurrency 1 are considered.
    """
    timed = [s for s in samples if s.concurrency == 1 and s.finish != "failed" and s.seconds > 0]
    both = pairs((s for s in timed if s.method == base), (s for s in timed if s.method == method))
    both.sort(key=lambda pair: pair[0].seconds / pair[1].seconds)
    if not both:
        return ()
    places = {"Best": len(both) - 1, "Median": len(both) // 2, "Worst": 0}
    return tuple(chart(name, *both[at]) for name, at in places.items())


def chart(name: str, base: Sample, own: Sample) -> LaneChart:
    """Return the chart of one problem.

    Args:
        name: First word of the title.
        base: Sample of the baseline, drawn on top.
        own: Sample of the method.
    """
    whole = max(base.seconds, own.seconds)
    title = (
        f"{name}: {own.task} {own.index} ({own.kind}), {base.seconds / own.seconds:.2f} times as "
        f"fast ({seconds(own.seconds)} instead of {seconds(base.seconds)}), "
        f"{'right' if own.right else 'wrong'} answer"
    )
    lanes = {f"{base.method} alone": base.spans}
    lanes |= {lane: tuple(s for s in own.spans if s.lane == lane) for lane in LANES}
    return LaneChart(title, _tracks(lanes, whole), _ticks(whole))


def _tracks(lanes: Mapping[str, Sequence[Span]], whole: float) -> tuple[Track, ...]:
    tracks, top = [], 0
    for name, spans in lanes.items():
        rows = _rows(spans, whole)
        height = ROW * (1 + max(rows, default=0)) + GAP
        segments = [
            _segment(span, whole, top + GAP // 2 + ROW * row)
            for span, row in zip(spans, rows, strict=True)
        ]
        tracks.append(Track(name, top, height, tuple(segments)))
        top += height
    return tuple(tracks)


def _rows(spans: Sequence[Span], whole: float) -> list[int]:
    """Return the first free row for each span; invisible overlaps are allowed."""
    ends: list[float] = []
    rows = []
    for span in spans:
        row = next((i for i, end in enumerate(ends) if end <= span.start + whole / 500), len(ends))
        ends[row : row + 1] = [span.end]
        rows.append(row)
    return rows


def _segment(span: Span, whole: float, top: int) -> Segment:
    left, width = 100 * span.start / whole, 100 * span.seconds / whole
    wrong = span.right is False
    kind = "discarded" if span.fate == "canceled" else span.fate
    return Segment(left, width, top, kind, wrong, _label(span), _about(span))


def _label(span: Span) -> str:
    """Return the positions of a span, counted from 1."""
    first = span.position + 1
    return str(first) if span.steps == 1 else f"{first}-{span.position + span.steps}"


def _about(span: Span) -> str:
    parts = [f"step {_label(span)}: {_FATES[span.fate]}"]
    parts.append(f"{seconds(span.start)} to {seconds(span.end)} ({seconds(span.seconds)})")
    if span.tokens:
        parts.append(f"{span.tokens} token{'s' * (span.tokens != 1)}")
    if span.kind != "none":
        if span.ratio is not None:
            parts.append(f"{score_name(span.kind)} {plain(span.ratio)}")
        elif span.kind is not None:
            parts.append(f"decided by {score_name(span.kind)}, not judged")
    if span.right is not None:
        parts.append(f"{'right' if span.right else 'wrong'} by the task's checker")
    return ", ".join(parts)


def score_name(kind: str | None) -> str:
    """Return the name of a kind of score for people, such as "judge ratio"."""
    return SCORE_NAMES.get(cast("ScoreKind", kind), "score")


def _ticks(whole: float) -> tuple[tuple[float, str], ...]:
    """Return at most seven ticks at round times."""
    power = 10.0 ** floor(log10(whole / 7))
    size = next(times * power for times in (1, 2, 5, 10) if times * power * 7 >= whole)
    steps = range(int(0.97 * whole / size) + 1)
    return tuple((100 * i * size / whole, f"{round(i * size, 6):g} s") for i in steps)
