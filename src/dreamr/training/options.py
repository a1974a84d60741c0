"""Everything that can be chosen about a training, declared once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeAlias

from dreamr._option_specs import BadOption, OptionSpec, check_options
from dreamr._options import RunOptions
from dreamr.training.guards import GUARDS
from dreamr.training.problems import task_names
from dreamr.training.rewards import TERMS, Counting, Scheme

_DATA, _MODELS, _REWARD, _TRAINING = "Problems", "Models", "Reward", "Training"

# What every way to train has.
_Draft: TypeAlias = Annotated[
    str | None,
    OptionSpec("Folder or Hugging Face id of the draft.", _MODELS, shown="the embedded one"),
]
_Lora: TypeAlias = Annotated[
    int, OptionSpec("Rank of LoRA; 0 trains all weights. Needs peft.", _MODELS, 0, 1024)
]
_SaveEvery: TypeAlias = Annotated[int, OptionSpec("Steps between two checkpoints.", _TRAINING, 1)]
_LearningRate: TypeAlias = Annotated[float, OptionSpec("Of AdamW; falls to 0.", _TRAINING, 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SapoOptions:
    """The options of a training by SAPO; `dreamr._option_specs.option_specs` says what each means.

    Raises:
        BadOption: a value outside its bounds or its words.
    """

    task: Annotated[
        str | None,
        OptionSpec(
            "Tasks to learn from, with commas between them.", _DATA, shown="all that are installed"
        ),
    ] = None
    problems: Annotated[int, OptionSpec("Problems of each task.", _DATA, 1)] = 1000
    plugin: Annotated[
        str | None,
        OptionSpec("Python modules to import first: they add tasks or reward terms.", _DATA),
    ] = None
    target: Annotated[
        str | None,
        OptionSpec(
            "Folder or Hugging Face id of the target, or the address of a server, as "
            "http://host:8000/v1.",
            _MODELS,
            shown="the embedded one",
        ),
    ] = None
    target_model: Annotated[
        str | None, OptionSpec("The target's name at its server.", _MODELS, shown="the only one")
    ] = None
    judge_prompt: Annotated[
        str | None,
        OptionSpec(
            "What the target is asked about a step; the answer begins with positive or negative.",
            _MODELS,
            shown="what its folder says, or a plain one",
        ),
    ] = None
    draft: _Draft = None
    target_device: Annotated[str, OptionSpec("Torch device of the target.", _MODELS)] = "cpu"
    graders: Annotated[
        int, OptionSpec("Copies of the target that grade side by side.", _MODELS, 1)
    ] = 2
    lora: _Lora = 0
    weights: Annotated[
        str,
        OptionSpec(
            "Of outcome, draft and length, as 1:1:1; or by name, as outcome=1,draft=2. "
            f"Known: {', '.join(TERMS)}, and what plugins add.",
            _REWARD,
        ),
    ] = "1:1:1"
    counting: Annotated[
        Counting,
        OptionSpec(
            "How the draft term counts: accepted steps; the same by tokens; the ratio itself; only "
            "steps before the first rejection. With step credit, soft or not is all that matters.",
            _REWARD,
        ),
    ] = "steps"
    threshold: Annotated[float, OptionSpec("Least ratio of an accepted step.", _REWARD, 0, 1)] = 0.7
    step_credit: Annotated[
        bool, OptionSpec("Give each step's tokens what that step has earned.", _REWARD)
    ] = False
    guards: Annotated[
        bool, OptionSpec(f"Watch for what earns without reasoning: {', '.join(GUARDS)}.", _REWARD)
    ] = True
    steps: Annotated[int, OptionSpec("Optimizer steps.", _TRAINING, 1)] = 500
    batch: Annotated[int, OptionSpec("Completions a step, in all processes.", _TRAINING, 2)] = 64
    group: Annotated[int, OptionSpec("Completions of each problem.", _TRAINING, 2)] = 8
    micro_batch: Annotated[
        int | None,
        OptionSpec(
            "Completions a backward pass on each device.", _TRAINING, 1, shown="all of them"
        ),
    ] = None
    learning_rate: _LearningRate = 1e-6
    kl: Annotated[float, OptionSpec("Weight of the divergence from the start.", _TRAINING, 0)] = (
        0.001
    )
    temperature: Annotated[float, OptionSpec("Of the completions.", _TRAINING, 0.01, 100)] = 1.0
    max_tokens: Annotated[int, OptionSpec("Most tokens of a completion.", _TRAINING, 1)] = 512
    save_every: _SaveEvery = 50
    seed: Annotated[int, OptionSpec("Of problems, draws and weights.", _TRAINING, 0, 2**31 - 1)] = 0
    config: Annotated[
        str | None,
        OptionSpec(
            "YAML file with fields of TRL's GRPOConfig; they go before all flags.", _TRAINING
        ),
    ] = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.batch % self.group:
            raise BadOption(
                f"batch must be a multiple of the group: {self.batch} is none of {self.group}"
            )

    def scheme(self) -> Scheme:
        """What a completion is worth.

        Raises:
            BadOption: the weights are not readable.
            BadReward: a term that nobody has added, or no weight above 0.
        """
        guards = tuple(GUARDS) if self.guards else ()
        return Scheme(_weights(self.weights), self.counting, guards)

    def run_options(self) -> RunOptions:
        """What opens the target."""
        return RunOptions(
            target=self.target,
            target_model=self.target_model,
            judge_prompt=self.judge_prompt,
            draft=self.draft,
            device=self.target_device,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values that say which training this is; how often it saves does not matter."""
        values = asdict(self) | {"task": ",".join(task_names(self.task))}
        del values["save_every"], values["graders"]
        return values


def _weights(text: str) -> dict[str, float]:
    parts = text.split(":") if ":" in text else text.split(",")
    names = list(TERMS)[:3] if ":" in text else []
    try:
        if names:
            return dict(zip(names, map(float, parts), strict=True))
        pairs = (part.split("=") for part in parts)
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise BadOption(
            f"weights {text!r} are not readable: write 1:1:1, or outcome=1,draft=1,length=1"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsOptions:
    """The options of a training on records; `dreamr._option_specs.option_specs` says what each
    means.

    Raises:
        BadOption: a value outside its bounds or its words.
    """

    method: Annotated[
        Literal["sft", "dpo"],
        OptionSpec(
            "sft: imitate what was committed; dpo: prefer the target's step to the refused one.",
            _TRAINING,
        ),
    ] = "sft"
    draft: _Draft = None
    lora: _Lora = 0
    epochs: Annotated[int, OptionSpec("How often all records are read.", _TRAINING, 1)] = 1
    batch: Annotated[int, OptionSpec("Examples a step, in all processes.", _TRAINING, 1)] = 32
    micro_batch: Annotated[
        int | None,
        OptionSpec("Examples a backward pass on each device.", _TRAINING, 1, shown="all of them"),
    ] = None
    learning_rate: _LearningRate = 1e-5
    beta: Annotated[float, OptionSpec("How closely dpo keeps to the start.", _TRAINING, 0)] = 0.1
    save_every: _SaveEvery = 50
    seed: Annotated[int, OptionSpec("Of the order.", _TRAINING, 0, 2**31 - 1)] = 0
    config: Annotated[
        str | None,
        OptionSpec(
            "YAML file with fields of TRL's SFTConfig or DPOConfig; they go before all flags.",
            _TRAINING,
        ),
    ] = None

    def __post_init__(self) -> None:
        check_options(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values that say which training this is; how often it saves does not matter."""
        values = asdict(self)
        del values["save_every"]
        return values
