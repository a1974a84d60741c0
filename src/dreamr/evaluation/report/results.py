"""From samples to figures: for each task, method and concurrency, and the mean over the tasks.

Methods are compared with the target alone on the problems that both have solved at the same
concurrency, so a bench that was broken off has figures too. A run that failed counts as a wrong
answer, and is left out of all times.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean
from typing import Any, Self, TypeAlias

from dreamr.evaluation.bench import Sample, Span
from dreamr.evaluation.report.statistics import (
    Estimate,
    mean,
    median_ratio,
    paired_difference,
    percentile,
    ratio_of_sums,
    wilson,
)
from dreamr.trace import LaneName

BASE = "target"  # the method that the others are compared with
FLOOR = "draft"  # the draft alone: fast, and as good as a draft is
MEAN = "mean"  # in the place of a task
# In the order in which people meet them; a method's name begins with that of its family.
FAMILIES = (
    BASE,
    FLOOR,
    "token-sd",
    "prompt-lookup",
    "specreason",
    "lookahead",
    "parse",
    "sequential",
    "fpsr",
)
ALPHAS = (*(round(0.05 * i, 2) for i in range(1, 20)), 0.97, 0.99)

LANES: tuple[LaneName, ...] = ("draft", "judge", "target")

Key: TypeAlias = tuple[str, str, int]  # task, method, concurrency


@dataclass(frozen=True, slots=True)
class Curve:
    """What a gate with another threshold would have said of the steps that were judged.

    alphas: thresholds, shape (k,), the other lists alike. accepted: share of all judged steps whose
    ratio reaches it. false_accepts: the same share of the wrong ones. false_rejects: share of the
    right ones that do not reach it. None where there is no such step. What the draft would have
    written behind another decision is not known, so this is about the steps of these runs.
    """

    steps: int
    alphas: tuple[float, ...]
    accepted: tuple[float, ...]
    false_accepts: tuple[float, ...] | None
    false_rejects: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of some problems with one method. None: cannot be told from these samples.

    n: problems; paired: those of them that the target alone has solved too. Shares are in [0, 1],
    times in seconds, and all gains say how many times better than the target alone.

    difference: in accuracy, on the paired problems; spoilt: the share of these that the target
    alone solves and the method does not. speedup: ratio of the summed seconds; speedup_median:
    median of the problems' own ratios; both one problem at a time only, and the first is the
    product of time_gain (a token) and tokens_gain (an answer). ideal_speedup: with the seconds that
    were given as ideal; efficiency: the measured share of it.

    acceptance: of drafted steps that were decided on, and token_acceptance of their tokens.
    false_accepts: share of wrong steps that were accepted, false_rejects: share of right steps that
    were rejected, among the `checked` ones (see `checkable`).

    tokens, steps: committed for an answer; drafted: the share of the tokens that the draft wrote.
    wasted: target tokens decoded for an answer and thrown
    away, and wasted_share the same over the committed tokens. judge_calls: for an answer;
    steps_per_call: on average. busy_*: share of the time in which the lane had work.

    throughput: problems a second of wall-clock; token_rate: committed tokens a second;
    throughput_gain: on the paired problems. unfinished: runs that a limit cut, or that failed.
    """

    n: int
    paired: int
    accuracy: Estimate
    difference: Estimate | None
    speedup: Estimate | None
    speedup_median: Estimate | None
    time_gain: float | None
    tokens_gain: float | None
    ideal_speedup: float | None
    efficiency: float | None
    acceptance: Estimate | None
    token_acceptance: Estimate | None
    checked: int
    false_accepts: Estimate | None
    false_rejects: Estimate | None
    tokens: float
    steps: float
    wasted: float
    wasted_share: float | None
    judge_calls: float
    steps_per_call: float | None
    latency_p50: float | None
    latency_p90: float | None
    latency_p99: float | None
    first_step_p50: float | None
    busy_draft: float | None
    busy_judge: float | None
    busy_target: float | None
    throughput: float | None
    token_rate: float | None
    throughput_gain: float | None
    unfinished: int
    curve: Curve | None
    spoilt: Estimate | None = None
    drafted: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The figures that `to_json` wrote.

        Raises:
            TypeError: it did not write this.
        """
        return cls(**{name: _read(name, value) for name, value in row.items()})


@dataclass(frozen=True, slots=True)
class Results:
    """Figures by task, method and concurrency; the task `MEAN` is the mean over all tasks.

    Tasks are in alphabetic order, methods in that of their families.
    """

    cells: Mapping[Key, Figures]

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(task for task, _, _ in self.cells if task != MEAN))

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(method for _, method, _ in self.cells))

    @property
    def concurrencies(self) -> tuple[int, ...]:
        return tuple(sorted({concurrency for _, _, concurrency in self.cells}))

    def of(self, task: str, concurrency: int) -> dict[str, Figures]:
        """The figures of each method."""
        return {m: f for (t, m, c), f in self.cells.items() if (t, c) == (task, concurrency)}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("task", "method", "concurrency")
        return {
            "figures": [
                {**dict(zip(names, key, strict=True)), **found.to_json()}
                for key, found in self.cells.items()
            ]
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The results that `to_json` wrote.

        Raises:
            KeyError, TypeError: it did not write this.
        """
        rows = [dict(row) for row in content["figures"]]
        return cls(
            {
                (row.pop("task"), row.pop("method"), row.pop("concurrency")): Figures.from_json(row)
                for row in rows
            }
        )


def figures(samples: Iterable[Sample], ideal_seconds: Mapping[Key, float] | None = None) -> Results:
    """All figures of a bench, whole or broken off.

    Args:
        samples: in any order, no two with the same key.
        ideal_seconds: for a task, method and concurrency the mean seconds a problem of an ideal
            machine without overhead (as the simulator finds them from the same traces).
    """
    groups: defaultdict[Key, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: (s.task, s.concurrency, *rank(s.method), s.index)):
        groups[sample.task, sample.method, sample.concurrency].append(sample)
    ideal = ideal_seconds or {}
    cells = {
        key: _cell(own, groups.get((key[0], BASE, key[2]), []), ideal.get(key))
        for key, own in groups.items()
    }
    return Results({**cells, **_means(cells)})


def family(method: str) -> str:
    """The longest name of a family that this method's name begins with, else the name itself."""
    return max((name for name in FAMILIES if method.startswith(name)), key=len, default=method)


def rank(method: str) -> tuple[int, list[tuple[int, str]]]:
    """What sorts methods for people: families first, and w4 before w16."""
    known = family(method)
    place = FAMILIES.index(known) if known in FAMILIES else len(FAMILIES)
    parts = re.findall(r"\d+|\D+", method)
    return place, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


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


def pairs(base: Iterable[Sample], own: Iterable[Sample]) -> list[tuple[Sample, Sample]]:
    """Samples of the same problem at the same concurrency, where both have one."""
    known = {(s.task, s.index, s.concurrency): s for s in base}
    return [(known[key], s) for s in own if (key := (s.task, s.index, s.concurrency)) in known]


def _cell(own: Sequence[Sample], base: Sequence[Sample], ideal: float | None) -> Figures:
    paired = pairs(base, own)
    timed = [s for s in own if s.finish != "failed"]
    return Figures(
        n=len(own),
        paired=len(paired),
        accuracy=wilson(sum(s.right for s in own), len(own)),
        difference=_difference(paired),
        **_speed([(a, b) for a, b in paired if "failed" not in (a.finish, b.finish)], ideal),
        **_drafting(own),
        tokens=fmean(s.tokens for s in own),
        steps=fmean(s.steps for s in own),
        **_costs(own),
        **_times(timed),
        unfinished=sum(not s.complete for s in own),
        curve=_curve(own),
        spoilt=_spoilt(paired),
        drafted=_drafted(own),
    )


def _difference(paired: Sequence[tuple[Sample, Sample]]) -> Estimate | None:
    if not paired:
        return None
    return paired_difference([a.right for a, _ in paired], [b.right for _, b in paired])


def _spoilt(paired: Sequence[tuple[Sample, Sample]]) -> Estimate | None:
    if not paired:
        return None
    return wilson(sum(a.right and not b.right for a, b in paired), len(paired))


def _drafted(own: Sequence[Sample]) -> float | None:
    spans = (span for sample in own for span in sample.spans)
    written = sum(span.tokens for span in spans if span.fate == "accepted")
    return _over(written, sum(sample.tokens for sample in own))


def _speed(paired: Sequence[tuple[Sample, Sample]], ideal: float | None) -> dict[str, Any]:
    base, own = [a.wall for a, _ in paired], [b.wall for _, b in paired]
    known = bool(own) and all(own)
    gain = sum(base) / sum(own) if known else None
    alone = known and all(b.concurrency == 1 for _, b in paired)
    tokens_gain = _over(sum(a.tokens for a, _ in paired), sum(b.tokens for _, b in paired))
    best = fmean(base) / ideal if base and ideal else None
    return {
        # Side by side, a problem's own time depends on who else is at work.
        "speedup": ratio_of_sums(base, own) if alone else None,
        "speedup_median": median_ratio(base, own) if alone else None,
        "time_gain": gain / tokens_gain if gain and tokens_gain else None,
        "tokens_gain": tokens_gain,
        "ideal_speedup": best,
        "efficiency": gain / best if gain and best else None,
        "throughput_gain": gain,
    }


def _drafting(own: Sequence[Sample]) -> dict[str, Any]:
    """Only where the target has a say: with the draft alone, nothing is decided."""
    decided = [[span for span in s.spans if span.decided] for s in own]
    if all(span.lane == "draft" for s in own for span in s.spans) or not any(decided):
        decided = []
    checked = [span for s in own for span in checkable(s.spans)] if decided else []
    wrong = [span.fate == "accepted" for span in checked if not span.right]
    right = [span.fate == "rejected" for span in checked if span.right]
    return {
        "acceptance": _accepted(decided, lambda span: 1),
        "token_acceptance": _accepted(decided, lambda span: span.tokens),
        "checked": len(checked),
        "false_accepts": wilson(sum(wrong), len(wrong)) if wrong else None,
        "false_rejects": wilson(sum(right), len(right)) if right else None,
    }


def _accepted(decided: Sequence[Sequence[Span]], weight: Callable[[Span], int]) -> Estimate | None:
    """Problems are drawn, not steps: those of one problem resemble each other.

    Where all problems are alike, that is blind: the interval is at least as wide as one of steps.
    """
    all_of = [sum(map(weight, spans)) for spans in decided]
    if not any(all_of):
        return None
    accepted = [sum(weight(s) for s in spans if s.fate == "accepted") for spans in decided]
    drawn = ratio_of_sums(accepted, all_of)
    steps = sum(map(len, decided))
    least = wilson(round(drawn.value * steps), steps)
    return Estimate(drawn.value, min(drawn.low, least.low), max(drawn.high, least.high))


def _costs(own: Sequence[Sample]) -> dict[str, Any]:
    spans = [span for s in own for span in s.spans]
    calls = [span.steps for span in spans if span.lane == "judge"]
    wasted = sum(s.tokens for s in spans if s.lane == "target" and s.fate == "cancelled")
    return {
        "wasted": wasted / len(own),
        "wasted_share": _over(wasted, sum(s.tokens for s in own)),
        "judge_calls": len(calls) / len(own),
        "steps_per_call": fmean(calls) if calls else None,
    }


def _times(timed: Sequence[Sample]) -> dict[str, Any]:
    seconds = [s.seconds for s in timed]
    total, wall = sum(seconds), sum(s.wall for s in timed)
    first = [s.first_step for s in timed if s.first_step is not None]
    return {
        **{f"latency_p{p}": percentile(seconds, p) if seconds else None for p in (50, 90, 99)},
        "first_step_p50": percentile(first, 50) if first else None,
        **{
            f"busy_{lane}": _over(sum(busy(s.spans, lane, s.seconds) for s in timed), total)
            for lane in LANES
        },
        "throughput": _over(len(timed), wall),
        "token_rate": _over(sum(s.tokens for s in timed), wall),
    }


def _curve(own: Sequence[Sample]) -> Curve | None:
    ratios = [s.ratio for x in own for s in x.spans if s.decided and s.ratio is not None]
    if not ratios:
        return None
    checked = [(s.ratio, s.right) for x in own for s in checkable(x.spans) if s.ratio is not None]
    wrong = [ratio for ratio, is_right in checked if not is_right]
    right = [ratio for ratio, is_right in checked if is_right]
    kept = _reaching(right)
    return Curve(
        len(ratios),
        ALPHAS,
        _reaching(ratios) or (),
        _reaching(wrong),
        None if kept is None else tuple(1 - share for share in kept),
    )


def _reaching(ratios: Sequence[float]) -> tuple[float, ...] | None:
    """The share at each threshold."""
    if not ratios:
        return None
    return tuple(sum(r >= alpha for r in ratios) / len(ratios) for alpha in ALPHAS)


def _over(top: float, bottom: float) -> float | None:
    return top / bottom if bottom else None


def _means(cells: Mapping[Key, Figures]) -> dict[Key, Figures]:
    """Of each method that has figures in every task, else it is a mean of something else."""
    tasks = {task for task, _, _ in cells}
    groups: defaultdict[tuple[str, int], list[Figures]] = defaultdict(list)
    for (_, method, concurrency), found in cells.items():
        groups[method, concurrency].append(found)
    return {
        (MEAN, method, concurrency): _mean(found)
        for (method, concurrency), found in groups.items()
        if len(found) == len(tasks)
    }


def _mean(found: Sequence[Figures]) -> Figures:
    return Figures(
        **{f.name: _mean_of([getattr(x, f.name) for x in found]) for f in fields(Figures)}
    )


def _mean_of(values: Sequence[Any]) -> Any:
    """Counts are added; a mean needs a figure of every task."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], Curve):
        return _mean_curve(values)
    if isinstance(values[0], Estimate):
        return mean(values)
    return sum(values) if isinstance(values[0], int) else fmean(values)


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    def over(name: str) -> tuple[float, ...] | None:
        shares = [getattr(curve, name) for curve in curves]
        return None if None in shares else tuple(map(fmean, zip(*shares, strict=True)))

    steps = sum(curve.steps for curve in curves)
    wrong, right = over("false_accepts"), over("false_rejects")
    return Curve(steps, ALPHAS, over("accepted") or (), wrong, right)


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if name == "curve":
        lists = {k: tuple(v) for k, v in value.items() if isinstance(v, Sequence)}
        return Curve(**{**value, **lists})
    return Estimate(**value)
