"""Figures from samples, for each task, method and concurrency, and their mean over tasks.

Methods are compared with the target alone on the problems that both have run at the same
concurrency, so an unfinished bench has figures too. A failed run counts as a wrong answer and is
left out of all times.

A problem that is asked in several ways, such as a question of MMBench, has several runs. It counts
once, is right if all of them are, and is drawn with all of them in a bootstrap. Latencies, tokens
and steps are those of single runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any, Self, TypeAlias, TypeVar

from dreamr.evaluation.bench import Sample, Span
from dreamr.evaluation.report.methods import BASE, rank
from dreamr.evaluation.report.results import MEAN, THRESHOLDS, Curve, Figures, Key, Results
from dreamr.evaluation.report.spans import busy, checkable
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

T = TypeVar("T")

Pair: TypeAlias = tuple[Sample, Sample]  # target alone and method, on the same item


def figures(samples: Iterable[Sample], ideal_seconds: Mapping[Key, float] | None = None) -> Results:
    """Compute all figures of a bench, finished or not.

    Args:
        samples: Samples in any order, with unique keys.
        ideal_seconds: Mean seconds per problem without any overhead, by task, method and
            concurrency, as the simulator computes them from the same traces.
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


def pairs(base: Iterable[Sample], own: Iterable[Sample]) -> list[Pair]:
    """Match samples of the same item at the same concurrency."""
    known = {(s.task, s.index, s.concurrency): s for s in base}
    return [(known[key], s) for s in own if (key := (s.task, s.index, s.concurrency)) in known]


@dataclass(frozen=True, slots=True)
class _Speed:
    """Figures of speed relative to the target alone; see `Figures`."""

    speedup: Estimate | None
    speedup_median: Estimate | None
    time_gain: float | None
    tokens_gain: float | None
    ideal_speedup: float | None
    efficiency: float | None
    throughput_gain: float | None

    @classmethod
    def of(cls, paired: Sequence[Pair], ideal: float | None) -> Self:
        """Compute the figures from pairs without failed runs; `ideal` is in seconds per run."""
        problems = _by_problem(paired)
        base = [sum(a.wall for a, _ in problem) for problem in problems]
        own = [sum(b.wall for _, b in problem) for problem in problems]
        known = bool(own) and all(own)
        gain = sum(base) / sum(own) if known else None
        alone = known and all(b.concurrency == 1 for _, b in paired)
        tokens_gain = _over(sum(a.tokens for a, _ in paired), sum(b.tokens for _, b in paired))
        best = sum(base) / len(paired) / ideal if base and ideal else None
        return cls(
            # With concurrent problems, the time of one depends on the others.
            speedup=ratio_of_sums(base, own) if alone else None,
            speedup_median=median_ratio(base, own) if alone else None,
            time_gain=gain / tokens_gain if gain and tokens_gain else None,
            tokens_gain=tokens_gain,
            ideal_speedup=best,
            efficiency=gain / best if gain and best else None,
            throughput_gain=gain,
        )


@dataclass(frozen=True, slots=True)
class _Drafting:
    """Figures of the decisions on drafted steps; see `Figures`."""

    acceptance: Estimate | None
    token_acceptance: Estimate | None
    checked: int
    false_accepts: Estimate | None
    false_rejects: Estimate | None

    @classmethod
    def of(cls, own: Sequence[Sample]) -> Self:
        """Compute the figures; the draft alone has none, since nothing is decided on."""
        decided = [
            [span for s in problem for span in s.spans if span.decided]
            for problem in _grouped(own, lambda s: s.problem)
        ]
        if all(span.lane == "draft" for s in own for span in s.spans) or not any(decided):
            decided = []
        checked = [span for s in own for span in checkable(s.spans)] if decided else []
        wrong = [span.fate == "accepted" for span in checked if not span.right]
        right = [span.fate == "rejected" for span in checked if span.right]
        return cls(
            acceptance=_accepted(decided, lambda span: 1),
            token_acceptance=_accepted(decided, lambda span: span.tokens),
            checked=len(checked),
            false_accepts=wilson(sum(wrong), len(wrong)) if wrong else None,
            false_rejects=wilson(sum(right), len(right)) if right else None,
        )


@dataclass(frozen=True, slots=True)
class _Costs:
    """Figures of the work per answer; see `Figures`."""

    wasted: float
    wasted_share: float | None
    judge_calls: float
    steps_per_call: float | None

    @classmethod
    def of(cls, own: Sequence[Sample]) -> Self:
        spans = [span for s in own for span in s.spans]
        calls = [span.steps for span in spans if span.lane == "judge"]
        wasted = sum(s.tokens for s in spans if s.lane == "target" and s.fate == "canceled")
        return cls(
            wasted=wasted / len(own),
            wasted_share=_over(wasted, sum(s.tokens for s in own)),
            judge_calls=len(calls) / len(own),
            steps_per_call=fmean(calls) if calls else None,
        )


@dataclass(frozen=True, slots=True)
class _Times:
    """Figures of latency, busy lanes and rates; see `Figures`."""

    latency_p50: float | None
    latency_p90: float | None
    latency_p99: float | None
    first_step_p50: float | None
    busy_draft: float | None
    busy_judge: float | None
    busy_target: float | None
    throughput: float | None
    token_rate: float | None

    @classmethod
    def of(cls, timed: Sequence[Sample]) -> Self:
        """Compute the figures from runs that did not fail."""
        seconds = [s.seconds for s in timed]
        total, wall = sum(seconds), sum(s.wall for s in timed)
        first = [s.first_step for s in timed if s.first_step is not None]

        def share(lane: LaneName) -> float | None:
            return _over(sum(busy(s.spans, lane, s.seconds) for s in timed), total)

        return cls(
            latency_p50=_percentile(seconds, 50),
            latency_p90=_percentile(seconds, 90),
            latency_p99=_percentile(seconds, 99),
            first_step_p50=_percentile(first, 50),
            busy_draft=share("draft"),
            busy_judge=share("judge"),
            busy_target=share("target"),
            throughput=_over(len({s.problem for s in timed}), wall),
            token_rate=_over(sum(s.tokens for s in timed), wall),
        )


def _cell(own: Sequence[Sample], base: Sequence[Sample], ideal: float | None) -> Figures:
    paired = pairs(base, own)
    problems = _grouped(own, lambda s: s.problem)
    right = sum(all(s.right for s in problem) for problem in problems)
    speed = _Speed.of([(a, b) for a, b in paired if "failed" not in (a.finish, b.finish)], ideal)
    drafting, costs = _Drafting.of(own), _Costs.of(own)
    times = _Times.of([s for s in own if s.finish != "failed"])
    return Figures(
        n=len(problems),
        paired=len(_by_problem(paired)),
        accuracy=wilson(right, len(problems)),
        difference=_difference(paired),
        speedup=speed.speedup,
        speedup_median=speed.speedup_median,
        time_gain=speed.time_gain,
        tokens_gain=speed.tokens_gain,
        ideal_speedup=speed.ideal_speedup,
        efficiency=speed.efficiency,
        acceptance=drafting.acceptance,
        token_acceptance=drafting.token_acceptance,
        checked=drafting.checked,
        false_accepts=drafting.false_accepts,
        false_rejects=drafting.false_rejects,
        tokens=fmean(s.tokens for s in own),
        steps=fmean(s.steps for s in own),
        wasted=costs.wasted,
        wasted_share=costs.wasted_share,
        judge_calls=costs.judge_calls,
        steps_per_call=costs.steps_per_call,
        latency_p50=times.latency_p50,
        latency_p90=times.latency_p90,
        latency_p99=times.latency_p99,
        first_step_p50=times.first_step_p50,
        busy_draft=times.busy_draft,
        busy_judge=times.busy_judge,
        busy_target=times.busy_target,
        throughput=times.throughput,
        token_rate=times.token_rate,
        throughput_gain=speed.throughput_gain,
        unfinished=sum(not s.complete for s in own),
        curve=_curve(own),
        regressions=_regressions(paired),
        drafted=_drafted(own),
    )


def _difference(paired: Sequence[Pair]) -> Estimate | None:
    if not paired:
        return None
    return paired_difference(*zip(*_right(paired), strict=True))


def _regressions(paired: Sequence[Pair]) -> Estimate | None:
    if not paired:
        return None
    right = _right(paired)
    return wilson(sum(base and not own for base, own in right), len(right))


def _right(paired: Sequence[Pair]) -> list[tuple[bool, bool]]:
    """Return for each problem whether the target alone and the method are right."""
    return [
        (all(a.right for a, _ in problem), all(b.right for _, b in problem))
        for problem in _by_problem(paired)
    ]


def _by_problem(paired: Iterable[Pair]) -> list[list[Pair]]:
    return _grouped(paired, lambda pair: pair[1].problem)


def _grouped(values: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the values with the same key together, in the order of their first ones."""
    groups: dict[Hashable, list[T]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return list(groups.values())


def _drafted(own: Sequence[Sample]) -> float | None:
    spans = (span for sample in own for span in sample.spans)
    written = sum(span.tokens for span in spans if span.fate == "accepted")
    return _over(written, sum(sample.tokens for sample in own))


def _percentile(values: Sequence[float], share: float) -> float | None:
    return percentile(values, share) if values else None


def _accepted(decided: Sequence[Sequence[Span]], weight: Callable[[Span], int]) -> Estimate | None:
    """Estimate the share of accepted steps, weighted by `weight`.

    The bootstrap draws problems, not steps, since steps of one problem are correlated. If all
    problems are alike it is too narrow, so the interval is at least as wide as Wilson's over steps.
    """
    all_of = [sum(map(weight, spans)) for spans in decided]
    if not any(all_of):
        return None
    accepted = [sum(weight(s) for s in spans if s.fate == "accepted") for spans in decided]
    drawn = ratio_of_sums(accepted, all_of)
    steps = sum(map(len, decided))
    least = wilson(round(drawn.value * steps), steps)
    return Estimate(drawn.value, min(drawn.low, least.low), max(drawn.high, least.high))


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
        THRESHOLDS,
        _reaching(ratios) or (),
        _reaching(wrong),
        None if kept is None else tuple(1 - share for share in kept),
    )


def _reaching(ratios: Sequence[float]) -> tuple[float, ...] | None:
    """Return the share of ratios that reach each threshold."""
    if not ratios:
        return None
    return tuple(sum(r >= threshold for r in ratios) / len(ratios) for threshold in THRESHOLDS)


def _over(top: float, bottom: float) -> float | None:
    return top / bottom if bottom else None


def _means(cells: Mapping[Key, Figures]) -> dict[Key, Figures]:
    """Return the mean over tasks for each method that has figures in every task."""
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
    """Add counts and average other figures; None if a task has no figure."""
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
    return Curve(steps, THRESHOLDS, over("accepted") or (), wrong, right)
