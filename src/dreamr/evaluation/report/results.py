"""Figures of a bench by task, method and concurrency, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias

from dreamr.evaluation.report.statistics import Estimate

MEAN = "mean"  # stands for a task in keys
THRESHOLDS = (*(round(0.05 * i, 2) for i in range(1, 20)), 0.97, 0.99)

Key: TypeAlias = tuple[str, str, int]  # task, method, concurrency


@dataclass(frozen=True, slots=True)
class Curve:
    """Decisions that a gate with another threshold would have made on the judged steps.

    Only the steps of these runs are counted: after another decision the draft would have written
    other steps.

    Attributes:
        steps: Number of judged steps.
        thresholds: Thresholds, shape (k,).
        accepted: Share of all judged steps whose score reaches each threshold, shape (k,).
        false_accepts: Share of the wrong steps whose score reaches each threshold, shape (k,);
            None if no step is known to be wrong.
        false_rejects: Share of the right steps whose score is below each threshold, shape (k,);
            None if no step is known to be right.
    """

    steps: int
    thresholds: tuple[float, ...]
    accepted: tuple[float, ...]
    false_accepts: tuple[float, ...] | None
    false_rejects: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one method on one task at one concurrency.

    Shares are in [0, 1], times in seconds, gains relative to the target alone (2 is twice as good).
    None if the samples do not contain a figure.

    Attributes:
        n: Problems. One that is asked in several ways counts once, see `Sample.unit`.
        paired: Problems that the target alone has run too.
        accuracy: Share of the problems that are answered right, in all their runs.
        difference: Accuracy minus that of the target alone, on the paired problems.
        speedup: Ratio of the summed seconds, at concurrency 1 only; equals time_gain * tokens_gain.
        speedup_median: Median of the problems' own ratios, at concurrency 1 only.
        time_gain: Gain in seconds per committed token.
        tokens_gain: Gain in committed tokens per answer.
        ideal_speedup: Speed-up with the ideal seconds.
        efficiency: Measured over ideal speed-up.
        acceptance: Share of accepted steps among accepted and rejected drafted steps.
        token_acceptance: The same, weighted by the tokens of the steps.
        checked: Decisions that the task's checker can grade; see `checkable`.
        false_accepts: Share of accepted steps among the checked wrong steps.
        false_rejects: Share of rejected steps among the checked right steps.
        tokens: Committed tokens per answer.
        steps: Committed steps per answer.
        wasted: Target tokens per answer that were decoded and discarded.
        wasted_share: Discarded target tokens over committed tokens.
        judge_calls: Judge calls per answer.
        steps_per_call: Mean number of steps in a judge call.
        latency_p50: Median seconds per problem.
        latency_p90: 90th percentile of the same.
        latency_p99: 99th percentile of the same.
        first_step_p50: Median seconds to the first committed step.
        busy_draft: Share of the time in which the draft lane had work.
        busy_judge: Share of the time in which the judge lane had work.
        busy_target: Share of the time in which the target lane had work.
        throughput: Problems per second of wall-clock time.
        token_rate: Committed tokens per second of wall-clock time.
        throughput_gain: Gain in throughput, on the paired problems.
        unfinished: Runs that failed or were cut by a limit.
        curve: Decisions at other thresholds.
        regressions: Share of the paired problems that the target alone answers right and the
            method does not.
        drafted: Share of the committed tokens that the draft wrote.
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
    regressions: Estimate | None = None
    drafted: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read figures that `to_json` wrote.

        Raises:
            TypeError: If the fields are not those of `to_json`.
        """
        return cls(**{name: _read(name, value) for name, value in row.items()})


@dataclass(frozen=True, slots=True)
class Results:
    """Figures of a bench.

    Attributes:
        cells: Figures by task, method and concurrency. The task `MEAN` stands for the mean over
            all tasks. Tasks are in alphabetical order, methods in the order of their families.
    """

    cells: Mapping[Key, Figures]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, without the mean."""
        return tuple(dict.fromkeys(task for task, _, _ in self.cells if task != MEAN))

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(dict.fromkeys(method for _, method, _ in self.cells))

    @property
    def concurrencies(self) -> tuple[int, ...]:
        """Concurrencies in ascending order."""
        return tuple(sorted({concurrency for _, _, concurrency in self.cells}))

    def of(self, task: str, concurrency: int) -> dict[str, Figures]:
        """Return the figures of each method for a task at a concurrency."""
        return {m: f for (t, m, c), f in self.cells.items() if (t, c) == (task, concurrency)}

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        names = ("task", "method", "concurrency")
        return {
            "figures": [
                {**dict(zip(names, key, strict=True)), **found.to_json()}
                for key, found in self.cells.items()
            ]
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read results that `to_json` wrote.

        Raises:
            KeyError: If a field is missing.
            TypeError: If a field is unknown.
        """
        rows = [dict(row) for row in content["figures"]]
        return cls(
            {
                (row.pop("task"), row.pop("method"), row.pop("concurrency")): Figures.from_json(row)
                for row in rows
            }
        )


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if name == "curve":
        lists = {k: tuple(v) for k, v in value.items() if isinstance(v, Sequence)}
        return Curve(**{**value, **lists})
    return Estimate(**value)
