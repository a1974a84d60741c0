"""Figures of a bench by task, method and concurrency, and how they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias

from dreamr.evaluation.report.statistics import Estimate

MEAN = "mean"  # in the place of a task
THRESHOLDS = (*(round(0.05 * i, 2) for i in range(1, 20)), 0.97, 0.99)

Key: TypeAlias = tuple[str, str, int]  # task, method, concurrency


@dataclass(frozen=True, slots=True)
class Curve:
    """What a gate with another threshold would have said of the steps that were judged.

    thresholds: shape (k,), the other lists alike. accepted: share of all judged steps whose
    ratio reaches it. false_accepts: the same share of the wrong ones. false_rejects: share of the
    right ones that do not reach it. None where there is no such step. What the draft would have
    written behind another decision is not known, so this is about the steps of these runs.
    """

    steps: int
    thresholds: tuple[float, ...]
    accepted: tuple[float, ...]
    false_accepts: tuple[float, ...] | None
    false_rejects: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of some problems with one method. None: cannot be told from these samples.

    n: problems; paired: those of them that the target alone has solved too. Shares are in [0, 1],
    times in seconds, and all gains say how many times better than the target alone.

    difference: in accuracy, on the paired problems; regressions: the share of these that the target
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
    regressions: Estimate | None = None
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


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if name == "curve":
        lists = {k: tuple(v) for k, v in value.items() if isinstance(v, Sequence)}
        return Curve(**{**value, **lists})
    return Estimate(**value)
