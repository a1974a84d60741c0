"""Options of the training commands, declared once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from dreamr._model_options import (
    DraftRevision,
    JudgePrompt,
    Revision,
    Target,
    TargetDtype,
    TargetModel,
    Untrained,
)
from dreamr._option_specs import BadOption, OptionSpec, Unused, check_options
from dreamr._options import RunOptions, Threshold
from dreamr.evaluation.tasks.options import Plugin, ProblemCount, TaskNames, task_names
from dreamr.training.guards import GUARDS
from dreamr.training.rewards import BUILT_IN, Counting, Scheme

_MODELS, _REWARD, _TRAINING, _OUTPUT = "Models", "Reward", "Training", "Output"
_RUN = RunOptions()

# Declarations that several commands share.
_Draft: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Draft model: folder or Hugging Face ID.", _MODELS, shown="bundled model", reads="*"
    ),
]
_Lora: TypeAlias = Annotated[
    int, OptionSpec("Rank of LoRA, 0 (train all weights) to 1024. Needs peft.", _MODELS, 0, 1024)
]
_Graders: TypeAlias = Annotated[
    int, OptionSpec("Number of copies of the target that grade in parallel.", _MODELS, 1)
]
_SaveEvery: TypeAlias = Annotated[
    int, OptionSpec("Optimizer steps between checkpoints.", _TRAINING, 1)
]
_LearningRate: TypeAlias = Annotated[
    float, OptionSpec("Initial learning rate of AdamW; decays linearly to 0.", _TRAINING, 0)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SapoOptions:
    """Options of a training by SAPO.

    `dreamr train sapo --help` describes each.

    Raises:
        BadOption: If a value is invalid or options contradict each other.
    """

    task: TaskNames = None
    problems: ProblemCount = 1000
    plugin: Plugin = None
    target: Target = None
    target_model: TargetModel = None
    revision: Revision = None
    judge_prompt: JudgePrompt = None
    draft: _Draft = None
    draft_revision: DraftRevision = None
    target_device: Annotated[
        str, OptionSpec("Torch device of the target, such as cpu or cuda:1.", _MODELS)
    ] = "cpu"
    dtype: TargetDtype = "auto"
    untrained: Untrained = False
    graders: _Graders = 2
    lora: _Lora = 0
    weights: Annotated[
        str,
        OptionSpec(
            "Weights outcome:draft:length:places (last optional), or by name: draft=2.",
            _REWARD,
        ),
    ] = "1:1:1"
    counting: Annotated[
        Counting,
        OptionSpec(
            "What the draft term counts: steps, tokens, soft (scores) or prefix.",
            _REWARD,
        ),
    ] = "steps"
    threshold: Threshold = _RUN.threshold
    step_credit: Annotated[
        bool, OptionSpec("Credit each step's reward to the tokens of that step.", _REWARD)
    ] = False
    guards: Annotated[bool, OptionSpec(f"Detect reward hacking: {', '.join(GUARDS)}.", _REWARD)] = (
        True
    )
    steps: Annotated[int, OptionSpec("Number of optimizer steps.", _TRAINING, 1)] = 500
    batch: Annotated[
        int,
        OptionSpec("Completions per step over all processes; a multiple of --group.", _TRAINING, 2),
    ] = 64
    group: Annotated[int, OptionSpec("Completions per problem, at least 2.", _TRAINING, 2)] = 8
    micro_batch: Annotated[
        int | None,
        OptionSpec("Completions per backward pass and device.", _TRAINING, 1, shown="all"),
    ] = None
    learning_rate: _LearningRate = 1e-6
    kl: Annotated[
        float, OptionSpec("Weight of the KL divergence from the initial draft.", _TRAINING, 0)
    ] = 0.001
    temperature: Annotated[
        float, OptionSpec("Sampling temperature of completions, 0.01 to 100.", _TRAINING, 0.01, 100)
    ] = 1.0
    max_tokens: Annotated[
        int, OptionSpec("Largest number of tokens of a completion.", _TRAINING, 1)
    ] = 512
    save_every: _SaveEvery = 50
    seed: Annotated[
        int,
        OptionSpec("Random seed of problems, sampling and new weights.", _TRAINING, 0, 2**31 - 1),
    ] = 0
    config: Annotated[
        str | None,
        OptionSpec(
            "YAML file with fields of TRL's GRPOConfig; they override flags.", _TRAINING, reads="*"
        ),
    ] = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.batch % self.group:
            raise BadOption(
                f"--batch must be a multiple of --group: {self.batch} is not one of {self.group}"
            )

    def scheme(self) -> Scheme:
        """Return the reward scheme of a completion.

        Raises:
            BadOption: If the weights cannot be parsed.
            BadReward: If a term is unknown or no weight is above 0.
        """
        guards = tuple(GUARDS) if self.guards else ()
        return Scheme(_weights(self.weights), self.counting, guards)

    def run_options(self) -> RunOptions:
        """Return the options that open the models."""
        return RunOptions(
            target=self.target,
            target_model=self.target_model,
            revision=self.revision,
            judge_prompt=self.judge_prompt,
            draft=self.draft,
            draft_revision=self.draft_revision,
            device=self.target_device,
            dtype=self.dtype,
            untrained=self.untrained,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values that identify the training; how often it saves does not."""
        values = asdict(self) | {"task": ",".join(task_names(self.task))}
        del values["save_every"], values["graders"]
        return values


def _weights(text: str) -> dict[str, float]:
    parts = text.split(":") if ":" in text else text.split(",")
    try:
        if ":" not in text:
            pairs = [part.split("=") for part in parts]
            found = {name.strip(): float(value) for name, value in pairs}
            if len(found) < len(pairs):
                raise BadOption(f"--weights {text!r} names a term twice: give each one weight")
            return found
        if 3 <= len(parts) <= len(BUILT_IN):
            return dict(zip(BUILT_IN, map(float, parts), strict=False))
    except ValueError:
        pass
    raise BadOption(
        f"--weights {text!r} cannot be parsed: write 1:1:1 or outcome=1,draft=1,length=1"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsOptions:
    """Options of a training on records.

    `dreamr train from-traces --help` describes each.

    Raises:
        BadOption: If a value is invalid.
    """

    method: Annotated[
        Literal["sft", "dpo"],
        OptionSpec(
            "Method: sft (imitate committed text) or dpo (prefer the target's to rejected steps).",
            _TRAINING,
        ),
    ] = "sft"
    draft: _Draft = None
    draft_revision: DraftRevision = None
    untrained: Untrained = False
    lora: _Lora = 0
    epochs: Annotated[int, OptionSpec("Number of passes over the records.", _TRAINING, 1)] = 1
    batch: Annotated[int, OptionSpec("Examples per step over all processes.", _TRAINING, 1)] = 32
    micro_batch: Annotated[
        int | None,
        OptionSpec("Examples per backward pass and device.", _TRAINING, 1, shown="all"),
    ] = None
    learning_rate: _LearningRate = 1e-5
    beta: Annotated[
        float,
        OptionSpec("DPO: how closely to stay with the initial draft, 0 or more.", _TRAINING, 0),
    ] = 0.1
    save_every: _SaveEvery = 50
    seed: Annotated[
        int, OptionSpec("Random seed of the order of examples.", _TRAINING, 0, 2**31 - 1)
    ] = 0
    config: Annotated[
        str | None,
        OptionSpec(
            "YAML file with fields of TRL's SFTConfig or DPOConfig; they override flags.",
            _TRAINING,
            reads="*",
        ),
    ] = None

    def __post_init__(self) -> None:
        check_options(self)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that identify the training; how often it saves does not."""
        values = asdict(self)
        del values["save_every"]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """Options of a recording: on which problems. `RunOptions` choose models and method.

    Raises:
        BadOption: If a value is invalid.
    """

    out: Annotated[
        Path, OptionSpec("File of records. An existing one is continued.", _OUTPUT, writes=True)
    ]
    task: TaskNames = None
    problems: ProblemCount = 1000
    concurrency: Annotated[int, OptionSpec("Problems at the same time.", "Problems", 1)] = 8
    plugin: Plugin = None

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """Options of a measurement of a draft: on which problems. `RunOptions` choose the models.

    Raises:
        BadOption: If a value is invalid.
    """

    task: TaskNames = None
    problems: ProblemCount = 300
    graders: _Graders = 2
    plugin: Plugin = None
    out: Annotated[
        Path | None, OptionSpec("JSON file to write the figures to.", _OUTPUT, writes=True)
    ] = None

    def __post_init__(self) -> None:
        check_options(self)


SAPO_RULES = (
    Unused(
        ("counting",),
        lambda o: o.step_credit and o.counting != "soft",
        "with --step-credit, except for soft",
    ),
)
FROM_TRACES_RULES = (Unused(("beta",), lambda o: o.method != "dpo", "without --method dpo"),)
