"""Everything that can be chosen about a calibration, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dreamr._option_specs import BadOption, OptionSpec, check_options
from dreamr.evaluation.calibration.families import KINDS
from dreamr.evaluation.tasks.options import Plugin, ProblemCount, ProblemSeed, TaskNames
from dreamr.gate import Bounds, Reference

_PROMISE = "Promise"

# The options of a run that a calibration has use for.
RUN_OPTIONS = (
    "window", "fallback", "final_answer", "deterministic", "max_steps",
    "target", "draft", "target_model", "draft_model", "judge_prompt", "answer_marker", "device",
    "draft_device", "threads", "max_tokens", "target_confidence",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """What a gate is to promise, and on which problems; `RunOptions` say with which models.

    Raises:
        BadOption: a value outside its bounds or its words, or two that do not go together.
    """

    task: TaskNames = None
    problems: ProblemCount = 1000
    seed: ProblemSeed = 0
    plugin: Plugin = None
    gate: Annotated[str, OptionSpec(f"One of {', '.join(KINDS)}.", _PROMISE)] = "ratio"
    risk: Annotated[
        float,
        OptionSpec("Bound on false accepts a judged step, or wrong answers a problem.", _PROMISE),
    ] = 0.003
    confidence: Annotated[float, OptionSpec("With which the bound is to hold.", _PROMISE)] = 0.95
    by: Annotated[
        Bounds,
        OptionSpec(
            "What the risk is of: steps, wrong ones that are accepted; answers, wrong ones that "
            "the target alone would not have given.",
            _PROMISE,
        ),
    ] = "steps"
    reference: Annotated[
        Reference,
        OptionSpec(
            "For answers: what says that one is wrong, the task's labels, or without labels the "
            "target's own answer.",
            _PROMISE,
        ),
    ] = "labels"

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("risk", "confidence"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise BadOption(f"--{name} must lie between 0 and 1, not at {value:g}")
        if self.gate not in KINDS:
            raise BadOption(f"--gate must be one of {', '.join(KINDS)}, not {self.gate!r}")
        if self.by == "steps" and self.reference == "target":
            raise BadOption("--reference target is for --by answers: steps need the task's labels")
        if self.by == "answers" and self.gate == "learned":
            raise BadOption("a learned gate learns from judged steps: calibrate it --by steps")
