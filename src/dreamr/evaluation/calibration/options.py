"""Options of a calibration, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dreamr._option_specs import BadOption, Conflict, OptionSpec, Unused, check_options
from dreamr._options import MODEL_OPTIONS
from dreamr.evaluation.calibration.families import KINDS
from dreamr.evaluation.tasks.options import Plugin, ProblemCount, ProblemSeed, TaskNames
from dreamr.gate import Bounds, Reference

_GUARANTEE = "Guarantee"

# Options of a run that a calibration uses.
RUN_OPTIONS = (
    *MODEL_OPTIONS, "window", "fallback", "final_answer", "deterministic", "max_steps",
    "max_tokens", "target_confidence", "min_label_mass",
    "transcriber", "transcriber_model", "hotwords",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """Options of a calibration: the bound, and on which problems. `RunOptions` choose the models.

    Raises:
        BadOption: If a value is invalid or options contradict each other.
    """

    task: TaskNames = None
    problems: ProblemCount = 1000
    seed: ProblemSeed = 0
    plugin: Plugin = None
    gate: Annotated[
        str, OptionSpec("Gate to calibrate, by name; see the guide on gates.", _GUARANTEE)
    ] = "ratio"
    risk: Annotated[
        float,
        OptionSpec(
            "Bound on the rate of wrong accepted steps or of wrong answers, between 0 and 1.",
            _GUARANTEE,
        ),
    ] = 0.003
    confidence: Annotated[
        float,
        OptionSpec("Probability with which the bound holds, between 0 and 1.", _GUARANTEE),
    ] = 0.95
    by: Annotated[
        Bounds,
        OptionSpec(
            "Errors to bound: steps (wrong ones accepted) or answers (wrong unlike the target's).",
            _GUARANTEE,
        ),
    ] = "steps"
    reference: Annotated[
        Reference,
        OptionSpec(
            "With --by answers: compare answers with the task's labels or the target's answers.",
            _GUARANTEE,
        ),
    ] = "labels"

    def __post_init__(self) -> None:
        check_options(self, _CONFLICTS)
        for name in ("risk", "confidence"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise BadOption(f"--{name} must be above 0 and below 1, not {value:g}")
        if self.gate not in KINDS:
            raise BadOption(f"--gate must be one of {', '.join(KINDS)}, not {self.gate!r}")


_CONFLICTS = (
    Conflict(
        lambda o: o.by == "steps" and o.reference == "target",
        "--reference target needs --by answers: steps are compared with the task's labels",
    ),
    Conflict(
        lambda o: o.by == "answers" and o.gate == "learned",
        "a learned gate is calibrated on judged steps: use --by steps",
    ),
)

# Combinations with the options of a run.
CALIBRATE_RULES = (
    Unused(
        ("target_confidence",),
        lambda o: o.gate not in ("cascade", "draft-confidence"),
        "without --gate cascade or draft-confidence",
    ),
    Unused(
        ("min_label_mass",),
        lambda o: o.gate in ("likelihood", "learned", "entropy", "tolerant"),
        "without a gate that reads the verdict's labels",
    ),
    Unused(
        ("window", "fallback", "final_answer", "deterministic", "max_steps"),
        lambda o: o.by == "steps",
        "without --by answers",
    ),
)
