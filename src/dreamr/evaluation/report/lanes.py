"""Lanes of chosen problems: places in percent of the width, rows in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10

from dreamr.evaluation.bench import Sample, Span
from dreamr.evaluation.report.aggregate import pairs
from dreamr.evaluation.report.columns import plain, seconds
from dreamr.evaluation.report.spans import LANES

ROW, GAP = 26, 8  # pixels of a row, and around a lane's rows

_FATES = {
    "accepted": "accepted draft",
    "rejected": "rejected draft",
    "kept": "target's own step",
    "cancelled": "thrown away",
    "judging": "judged",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A bar. left, width: percent; top: pixels. kind: its fate; wrong: by the task's checker."""

    left: float
    width: float
    top: int
    kind: str
    wrong: bool
    label: str
    about: str


@dataclass(frozen=True, slots=True)
class Track:
    """A lane of a chart. top, height: pixels."""

    name: str
    top: int
    height: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class LaneChart:
    """A problem with a method, above it the target alone on the same scale.

    ticks: percent of the width, and what to write there.
    """

    title: str
    tracks: tuple[Track, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def height(self) -> int:
        """Pixels of all lanes."""
        return sum(track.height for track in self.tracks)


def charts(samples: Iterable[Sample], method: str, base: str = "target") -> tuple[LaneChart, ...]:
    """The problems with the best, the median and the worst speed-up, one at a time."""
    timed = [s for s in samples if s.concurrency == 1 and s.finish != "failed" and s.seconds > 0]
    both = pairs((s for s in timed if s.method == base), (s for s in timed if s.method == method))
    both.sort(key=lambda pair: pair[0].seconds / pair[1].seconds)
    if not both:
        return ()
    places = {"Best": len(both) - 1, "Median": len(both) // 2, "Worst": 0}
    return tuple(chart(name, *both[at]) for name, at in places.items())


def chart(name: str, base: Sample, own: Sample) -> LaneChart:
    """One problem."""
    whole = max(base.seconds, own.seconds)
    title = (
        f"{name}: {own.task} {own.index} ({own.kind}), {base.seconds / own.seconds:.2f} times as "
        f"fast, {seconds(own.seconds)} against {seconds(base.seconds)}, "
        f"answer {'right' if own.right else 'wrong'}"
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
    """The first row that is free by then; less overlap than anybody sees is none."""
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
    return Segment(left, width, top, span.fate, wrong, _label(span), _about(span))


def _label(span: Span) -> str:
    """Positions for people, who count from 1."""
    first = span.position + 1
    return str(first) if span.steps == 1 else f"{first}-{span.position + span.steps}"


def _about(span: Span) -> str:
    parts = [f"step {_label(span)}: {_FATES[span.fate]}"]
    parts.append(f"{seconds(span.start)} to {seconds(span.end)} ({seconds(span.seconds)})")
    if span.tokens:
        parts.append(f"{span.tokens} token{'s' * (span.tokens != 1)}")
    if span.ratio is not None:
        parts.append(f"ratio {plain(span.ratio)}")
    if span.right is not None:
        parts.append("right" if span.right else "wrong")
    return ", ".join(parts)


def _ticks(whole: float) -> tuple[tuple[float, str], ...]:
    """At most seven round times."""
    power = 10.0 ** floor(log10(whole / 7))
    size = next(times * power for times in (1, 2, 5, 10) if times * power * 7 >= whole)
    steps = range(int(0.97 * whole / size) + 1)
    return tuple((100 * i * size / whole, f"{round(i * size, 6):g} s") for i in steps)
