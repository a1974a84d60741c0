"""Options of a bench, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from dreamr._load_options import LOAD
from dreamr._media_options import READING
from dreamr._option_specs import BadOption, OptionSpec, Unused, check_options
from dreamr._options import RunOptions
from dreamr.evaluation.bench.plan import Plan
from dreamr.evaluation.bench.presets import PRESETS, STANDARD
from dreamr.evaluation.tasks import BENCHMARKS, default_tasks
from dreamr.evaluation.tasks.options import Plugin

_PROBLEMS, _METHODS, _ORDER = "Problems", "Methods", "Order"
_SMOKE = 2  # problems of each task

# Options of a run that a bench sets for each method and problem.
SET_BY_BENCH = (
    "method", "window", "score", "fallback", "deterministic", "load_aware", "seed",
    "model_defaults", *READING,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """Options of a bench: which methods, on which problems. `RunOptions` choose the models.

    Raises:
        BadOption: If a value is invalid.
    """

    task: Annotated[
        tuple[str, ...],
        OptionSpec(
            f"Installed task, {', '.join(BENCHMARKS)}, or a .parquet or .jsonl file. Repeatable.",
            _PROBLEMS,
            shown="installed default tasks",
        ),
    ] = ()
    limit: Annotated[int, OptionSpec("Number of problems of each task.", _PROBLEMS, 1)] = 100
    source: Annotated[
        tuple[str, ...],
        OptionSpec(
            "TASK=PATH: folder or file of a published task. Repeatable.",
            _PROBLEMS,
            shown="Hugging Face Hub",
            reads="*",
        ),
    ] = ()
    plugin: Plugin = None
    smoke: Annotated[
        bool,
        OptionSpec("Run two problems of each task without warm-up, to test the setup.", _PROBLEMS),
    ] = False
    method: Annotated[
        tuple[str, ...],
        OptionSpec(
            "Preset, such as fpsr-4 or token-sd; an unknown name lists all. Repeatable.",
            _METHODS,
            shown=", ".join(STANDARD),
        ),
    ] = ()
    seed: Annotated[
        int, OptionSpec("Random seed of problems, order of methods and sampling.", _ORDER, 0)
    ] = 0
    concurrency: Annotated[
        str, OptionSpec("Problems at the same time; 1,4,16 runs all three.", _ORDER)
    ] = "1"
    load_aware: Annotated[
        bool,
        OptionSpec(
            "Let fpsr draft less, or not at all, as the target saturates. Results mix such runs.",
            LOAD,
            shown="off",
        ),
    ] = False

    def __post_init__(self) -> None:
        check_options(self)

    def plan(self, run: RunOptions) -> Plan:
        """Return the plan of the bench, with the models and limits of a run.

        Raises:
            BadOption: If numbers or sources cannot be parsed. `Plan` raises further errors.
        """
        return Plan(
            self.task or default_tasks(),
            self.method or STANDARD,
            _SMOKE if self.smoke else self.limit,
            self.seed,
            _numbers(self.concurrency),
            replace(
                run,
                seed=self.seed,
                # Greedy unless asked: results depend on what a family of models recommends
                # otherwise.
                temperature=run.temperature or 0.0,
                # A method keeps its schedule, which does not follow measured times.
                load_aware=self.load_aware,
                resamples=run.resamples or 0,
            ),
            dict(map(_source, self.source)),
        )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise BadOption(
            f"--concurrency {text!r} is not a list of numbers: write 1,4,16 for example"
        ) from None


def _source(text: str) -> tuple[str, str]:
    task, given, path = text.partition("=")
    if not given or task not in BENCHMARKS:
        raise BadOption(
            f"--source {text!r} must be TASK=PATH; known tasks: {', '.join(BENCHMARKS)}"
        )
    return task, path


def bench_cases(values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the options of each method of a bench, given those of the command line."""
    names = [name for name in values["method"] or STANDARD if name in PRESETS]
    profiles = {name: values["profile"] if PRESETS[name].profiled else None for name in names}
    return [
        {**values, "profile": profiles[name], **PRESETS[name].values, "preset": name}
        for name in names
    ]


# Options of a run that presets may set.
_OF_PRESETS = (
    "gate",
    "threshold",
    "target_confidence",
    "draft_confidence",
    "final_answer",
    "token_reuse",
    "resamples",
)


def _set_by_preset(name: str) -> Unused:
    return Unused(
        (name,), lambda o: name in PRESETS[o.preset].values, "because every chosen method sets it"
    )


BENCH_RULES = (
    Unused(("limit",), lambda o: o.smoke, "with --smoke"),
    Unused(
        ("source",),
        lambda o: all(source.partition("=")[0] not in o.task for source in o.source),
        "without --task for the same task",
    ),
    Unused(("profile",), lambda o: o.profile is None, "without --method fpsr-profile"),
    *map(_set_by_preset, _OF_PRESETS),
)
