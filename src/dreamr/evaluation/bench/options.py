"""Everything that can be chosen about a bench, declared once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from dreamr._option_specs import BadOption, OptionSpec, check_options
from dreamr._options import RunOptions
from dreamr.evaluation.bench.plan import Plan
from dreamr.evaluation.bench.presets import PRESETS, STANDARD
from dreamr.evaluation.tasks import BENCHMARKS, default_tasks
from dreamr.evaluation.tasks.options import Plugin

_PROBLEMS, _METHODS, _ORDER = "Problems", "Methods", "Order"
_SMOKE = 2  # problems of each task

# What a bench sets itself, method by method and problem by problem.
SET_BY_BENCH = ("method", "window", "score", "fallback", "deterministic", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What is compared, and on what; `RunOptions` say with which models.

    Raises:
        BadOption: a value outside its bounds.
    """

    task: Annotated[
        tuple[str, ...],
        OptionSpec(
            f"Repeat for more: an installed task, {', '.join(BENCHMARKS)}, or a parquet file.",
            _PROBLEMS,
            shown="all that are installed",
        ),
    ] = ()
    limit: Annotated[int, OptionSpec("Problems of each task.", _PROBLEMS, 1)] = 100
    source: Annotated[
        tuple[str, ...],
        OptionSpec("TASK=PATH: files of a published task; else the hub.", _PROBLEMS),
    ] = ()
    plugin: Plugin = None
    smoke: Annotated[
        bool,
        OptionSpec("Two problems a task, no warm-up: does everything work?", _PROBLEMS),
    ] = False
    method: Annotated[
        tuple[str, ...],
        OptionSpec(f"Repeat for more: {', '.join(PRESETS)}.", _METHODS, shown=", ".join(STANDARD)),
    ] = ()
    seed: Annotated[
        int, OptionSpec("Of the problems, the turns of the methods, the draws.", _ORDER, 0)
    ] = 0
    concurrency: Annotated[
        str, OptionSpec("Problems side by side; 1,4,16 for several.", _ORDER)
    ] = "1"

    def __post_init__(self) -> None:
        check_options(self)

    def plan(self, run: RunOptions) -> Plan:
        """The bench with models and limits of a run.

        Raises:
            BadOption: numbers or sources that cannot be read; see `Plan` for the others.
        """
        return Plan(
            self.task or default_tasks(),
            self.method or STANDARD,
            _SMOKE if self.smoke else self.limit,
            self.seed,
            _numbers(self.concurrency),
            replace(run, seed=self.seed),
            dict(map(_source, self.source)),
        )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise BadOption(
            f"--concurrency {text!r} is not a list of numbers, such as 1,4,16"
        ) from None


def _source(text: str) -> tuple[str, str]:
    task, given, path = text.partition("=")
    if not given or task not in BENCHMARKS:
        raise BadOption(
            f"--source {text!r}: write TASK=PATH, with a task of {', '.join(BENCHMARKS)}"
        )
    return task, path
