"""Options of a run, declared once.

The command line makes its flags, their help and their environment variables from `RunOptions`; the
Python API takes an instance of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeAlias

from dreamr._option_specs import (
    Conflict,
    OptionSpec,
    check_options,
    known_names,
    option_specs,
)
from dreamr.engines import ModelSource, SamplingParams
from dreamr.engines.protocol import Thinking as ThinkingMode
from dreamr.gate import (
    AgreementGate,
    CascadeGate,
    Gate,
    Profile,
    SameGate,
    ScoreGate,
    make_gate,
)
from dreamr.runner import RunConfig
from dreamr.schedules import Fallback, FinalAnswer, JudgeBatch, ScheduleConfig, method
from dreamr.steps import Role

_LOOKUP = 10  # tokens of a guess, as in transformers' prompt lookup
_METHOD, _MODELS, _SAMPLING, _LOAD = "Method", "Models", "Sampling and limits", "Load"
# Defaults of a run are those of its parts.
_SCHEDULE, _DRAWS, _CASCADE = ScheduleConfig(), SamplingParams(), CascadeGate()

# Declarations that other dataclasses of options share.
Threshold: TypeAlias = Annotated[
    float,
    OptionSpec(
        "Lowest score at which a drafted step is accepted, 0 to 1 (alpha in the paper).",
        _METHOD,
        0,
        1,
    ),
]
Thinking: TypeAlias = Annotated[
    ThinkingMode,
    OptionSpec(
        "Whether served models think: on, off, or auto (their default; Qwen: off for images).",
        _MODELS,
    ),
]
Target: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Target model: folder, Hugging Face ID or server URL.",
        _MODELS,
        shown="bundled model",
        reads="*",
    ),
]
TargetModel: TypeAlias = Annotated[
    str | None,
    OptionSpec("Name of the target at its server.", _MODELS, shown="its only model"),
]
Revision: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Branch, tag or commit of the target on the Hugging Face hub.",
        _MODELS,
        shown="default branch",
    ),
]
DraftRevision: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Branch, tag or commit of the draft on the Hugging Face hub.",
        _MODELS,
        shown="default branch",
    ),
]
JudgePrompt: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Question to the target about a drafted step, answered by positive or negative.",
        _MODELS,
        shown="from the model, or built in",
    ),
]


@known_names
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a run.

    `dreamr run --help` describes each; `dreamr._option_specs.option_specs` returns the
    descriptions.

    Raises:
        BadOption: If a value is invalid or options contradict each other.
    """

    method: Annotated[
        Literal[
            "fpsr",
            "sequential",
            "target",
            "draft",
            "token-sd",
            "prompt-lookup",
            "specreason",
            "lookahead",
            "parse",
        ],
        OptionSpec(
            "Method: fpsr, sequential, target, draft, token-sd, prompt-lookup, specreason, "
            "lookahead or parse.",
            _METHOD,
        ),
    ] = "fpsr"
    window: Annotated[
        int,
        OptionSpec(
            "Drafted steps that may wait for verdicts; with lookahead, its depth.", _METHOD, 1
        ),
    ] = _SCHEDULE.window
    threshold: Threshold = _CASCADE.threshold
    gate: Annotated[
        Literal[
            "ratio",
            "adaptive",
            "cascade",
            "likelihood",
            "word",
            "entropy",
            "draft-first",
            "two-questions",
            "tolerant",
        ],
        OptionSpec(
            "Rule that accepts drafted steps: ratio, adaptive, cascade, likelihood, word, entropy, "
            "draft-first, two-questions or tolerant.",
            _METHOD,
        ),
    ] = "ratio"
    min_label_mass: Annotated[
        float | None,
        OptionSpec(
            "Lowest total probability of the verdict's labels that counts as an answer, 0 to 1.",
            _METHOD,
            0,
            1,
            shown="0.5 for servers, 0.01 for local models",
        ),
    ] = None
    target_confidence: Annotated[
        float,
        OptionSpec(
            "Cascade: lowest token probability by the target that skips the question, 0 to 1.",
            _METHOD,
            0,
            1,
        ),
    ] = _CASCADE.target_confidence
    draft_confidence: Annotated[
        float | None,
        OptionSpec(
            "Lowest confidence of the draft that skips verification, 0 to 1: cascade, draft-first.",
            _METHOD,
            0,
            1,
            shown="cascade: verify all; draft-first: 0.95",
        ),
    ] = None
    profile: Annotated[
        str | None,
        OptionSpec(
            "Gate profile, a file of dreamr calibrate. Replaces the gate options.",
            _METHOD,
            reads="*",
        ),
    ] = None
    score: Annotated[
        int, OptionSpec("Specreason: lowest rating that accepts a step, 0 to 9.", _METHOD, 0, 9)
    ] = 7
    fallback: Annotated[
        Fallback,
        OptionSpec(
            "When the target writes too: auto (in doubt), eager, idle or on-reject.",
            _METHOD,
        ),
    ] = _SCHEDULE.fallback
    final_answer: Annotated[
        FinalAnswer,
        OptionSpec("Who writes the final answer: the target, or the draft (judged).", _METHOD),
    ] = _SCHEDULE.final_answer
    judge_batch: Annotated[
        JudgeBatch,
        OptionSpec(
            "Steps of a judge call: auto, window (all that wait) or step (one).",
            _METHOD,
        ),
    ] = _SCHEDULE.judge_batch
    token_reuse: Annotated[
        Literal["off", "verified", "ngram"],
        OptionSpec(
            "Tokens of rejected steps that a local target reuses: off, verified or ngram.", _METHOD
        ),
    ] = "verified"
    resamples: Annotated[
        int | None,
        OptionSpec(
            "Other candidates of the draft for a rejected step, 0 to 8; by default what pays.",
            _METHOD,
            0,
            8,
        ),
    ] = None
    deterministic: Annotated[
        bool,
        OptionSpec("Wait for the draft, so that the text does not depend on timing.", _METHOD),
    ] = _SCHEDULE.deterministic
    load_aware: Annotated[
        bool,
        OptionSpec(
            "Drop the fallback, then the window, then the draft as the target saturates.",
            _LOAD,
        ),
    ] = True
    target: Target = None
    draft: Annotated[
        str | None,
        OptionSpec(
            "Draft model: folder, Hugging Face ID or server URL.",
            _MODELS,
            shown="bundled model",
            reads="*",
        ),
    ] = None
    target_model: TargetModel = None
    draft_model: Annotated[
        str | None,
        OptionSpec("Name of the draft at its server.", _MODELS, shown="its only model"),
    ] = None
    revision: Revision = None
    draft_revision: DraftRevision = None
    judge_prompt: JudgePrompt = None
    thinking: Thinking = "auto"
    answer_marker: Annotated[
        str | None,
        OptionSpec(
            "Text in front of the final answer.", _MODELS, shown="from the model, or Answer:"
        ),
    ] = None
    device: Annotated[
        str, OptionSpec("Torch device of the target, such as cpu or cuda:1.", _MODELS)
    ] = "cpu"
    draft_device: Annotated[
        str | None,
        OptionSpec(
            "Torch device of the draft, such as cpu or cuda:1.", _MODELS, shown="as the target"
        ),
    ] = None
    threads: Annotated[
        int,
        OptionSpec("CPU threads of each local model; all together at most the cores.", _MODELS, 1),
    ] = 1
    max_tokens: Annotated[
        int, OptionSpec("Largest number of tokens of a run, over both models.", _SAMPLING, 1)
    ] = _SCHEDULE.max_tokens
    max_steps: Annotated[
        int, OptionSpec("Largest number of steps of a run, over both models.", _SAMPLING, 1)
    ] = _SCHEDULE.max_steps
    temperature: Annotated[
        float, OptionSpec("Sampling temperature, 0 (greedy) to 100.", _SAMPLING, 0, 100)
    ] = _DRAWS.temperature
    top_p: Annotated[
        float,
        OptionSpec("Probability mass to sample from, 0.01 to 1.", _SAMPLING, 0.01, 1),
    ] = _DRAWS.top_p
    seed: Annotated[
        int, OptionSpec("Random seed of sampling, 0 or larger.", _SAMPLING, 0, 2**63 - 1)
    ] = _DRAWS.seed

    def __post_init__(self) -> None:
        check_options(self, _CONFLICTS)

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON values, by name; `RunOptions(**values)` reads them back."""
        return asdict(self)

    def run_config(self, profile: Profile | None = None) -> RunConfig:
        """Return the configuration for the runner.

        Args:
            profile: Contents of the profile that the options name. Its gate decides.

        Raises:
            BadOption: If the profile was made for other options.
            ValueError: If the options name a profile and none is passed.
        """
        lookup = self.method == "prompt-lookup" or self.token_reuse == "ngram"
        return RunConfig(
            method=self.method,
            options=ScheduleConfig(
                window=self.window,
                fallback=self.fallback,
                deterministic=self.deterministic,
                final_answer=self.final_answer,
                judge_batch=self.judge_batch,
                resamples=self.resamples or 0,
                max_steps=self.max_steps,
                max_tokens=self.max_tokens,
            ),
            gate=self._gate(profile),
            sampling=SamplingParams(
                temperature=self.temperature,
                top_p=self.top_p,
                seed=self.seed,
                lookup=_LOOKUP if lookup else 0,
                token_reuse=self.token_reuse != "off",
            ),
        )

    def _gate(self, profile: Profile | None) -> Gate:
        match self.method:
            case "specreason":
                return ScoreGate(self.score)
            case "lookahead":
                return SameGate(min_mass=self.min_label_mass)
            case "token-sd":
                return AgreementGate()
            case _:
                return self._own_gate(profile)

    def _own_gate(self, profile: Profile | None) -> Gate:
        if self.profile is not None:
            if profile is None:
                raise ValueError(f"pass the contents of the profile {self.profile} to run_config()")
            if method(self.method).judges:  # a single model has no gate that could be promised for
                profile.check_options(asdict(self))
            return profile.gate
        return make_gate(self.gate, {**asdict(self), "min_mass": self.min_label_mass})

    def source(self, role: Role) -> ModelSource:
        """Return the model of a role and how to open it."""
        target = role == "target"
        device = self.device if target or self.draft_device is None else self.draft_device
        return ModelSource(
            role=role,
            name=self.target if target else self.draft,
            server_model=self.target_model if target else self.draft_model,
            revision=self.revision if target else self.draft_revision,
            judge_prompt=self.judge_prompt,
            thinking=self.thinking,
            answer_marker=self.answer_marker,
            device=device,
            threads=self.threads,
        )

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles of the models that the method uses."""
        return method(self.method).roles


# Options that choose and open the models.
MODEL_OPTIONS = tuple(
    name for name, (_, spec) in option_specs(RunOptions).items() if spec.group == _MODELS
)

_CONFLICTS = (
    Conflict(
        lambda o: o.method == "token-sd" and o.temperature > 0,
        "token-sd is greedy: leave --temperature at 0",
    ),
    Conflict(
        lambda o: o.resamples and o.deterministic,
        "resamples depend on timing: leave out --resamples or --deterministic",
    ),
    Conflict(
        lambda o: o.draft_confidence is not None and o.profile is not None,
        "a profile has its own gate: leave out --draft-confidence or --profile",
    ),
    Conflict(
        lambda o: o.draft_confidence is not None and o.gate not in ("cascade", "draft-first"),
        "--draft-confidence needs --gate cascade or draft-first: add it, or leave out "
        "--draft-confidence",
    ),
)
