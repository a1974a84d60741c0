"""Everything that can be chosen about a run, declared once.

The command line's flags, their help and their environment variables are made from this class, and
the Python API takes it as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal, TypeAlias

from dreamr._option_specs import BadOption, OptionSpec, check_options, option_specs
from dreamr.engines import ModelSource, SamplingParams
from dreamr.gate import (
    AdaptiveGate,
    AgreementGate,
    CascadeGate,
    Gate,
    LikelihoodGate,
    Profile,
    RatioGate,
    SameGate,
    ScoreGate,
)
from dreamr.runner import RunConfig
from dreamr.schedules import Fallback, FinalAnswer, ScheduleConfig, method
from dreamr.steps import Role

_LOOKUP = 10  # tokens of a guess, as in transformers' prompt lookup
_METHOD, _MODELS, _SAMPLING = "Method", "Models", "Sampling and limits"
# Defaults of a run are those of its parts.
_SCHEDULE, _DRAWS, _CASCADE = ScheduleConfig(), SamplingParams(), CascadeGate()

# What other options than those of a run have too.
Threshold: TypeAlias = Annotated[
    float,
    OptionSpec(
        "Least ratio at which a drafted step is accepted (the paper's alpha).", _METHOD, 0, 1
    ),
]
Target: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Folder or Hugging Face id of the target, or the address of a server, as "
        "http://host:8000/v1.",
        _MODELS,
        shown="the embedded one",
    ),
]
TargetModel: TypeAlias = Annotated[
    str | None, OptionSpec("The target's name at its server.", _MODELS, shown="the only one")
]
JudgePrompt: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "What the target is asked about a step; the answer begins with positive or negative.",
        _MODELS,
        shown="what its folder says, or a plain one",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run; `dreamr._option_specs.option_specs` says what each means.

    Raises:
        BadOption: a value outside its bounds or its words.
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
            "fpsr: draft, judge and target at the same time; sequential: one after the other; "
            "target, draft: one model alone. For comparison, on the same models: token-sd and "
            "prompt-lookup, speculation by tokens; specreason, lookahead and parse, other methods "
            "by steps.",
            _METHOD,
        ),
    ] = "fpsr"
    window: Annotated[
        int,
        OptionSpec(
            "Drafted steps that may wait for their verdicts; the depth of lookahead.", _METHOD, 1
        ),
    ] = _SCHEDULE.window
    threshold: Threshold = _CASCADE.threshold
    gate: Annotated[
        Literal["ratio", "adaptive", "cascade", "likelihood"],
        OptionSpec(
            "What decides on a drafted step: ratio, of the target's answers; adaptive, the same, "
            "less of it for what the target nearly would have written and more for what it hardly "
            "would; cascade, how surely the target would write it itself, and the ratio where it "
            "is not sure; likelihood, that alone.",
            _METHOD,
        ),
    ] = "ratio"
    target_confidence: Annotated[
        float,
        OptionSpec(
            "For cascade: least probability of each token of a step, against the best other, at "
            "which nothing is asked.",
            _METHOD,
            0,
            1,
        ),
    ] = _CASCADE.target_confidence
    draft_confidence: Annotated[
        float | None,
        OptionSpec(
            "For cascade: least probability, by the draft itself, of each token of a step at which "
            "it is accepted without the target; 0.95 is a start, dreamr calibrate finds one that "
            "keeps a promise.",
            _METHOD,
            0,
            1,
            shown="the target sees every step",
        ),
    ] = None
    profile: Annotated[
        str | None,
        OptionSpec(
            "File of dreamr calibrate; replaces --gate, --threshold and --target-confidence.",
            _METHOD,
        ),
    ] = None
    score: Annotated[
        int, OptionSpec("Least score at which specreason accepts a drafted step.", _METHOD, 0, 9)
    ] = 7
    fallback: Annotated[
        Fallback,
        OptionSpec(
            "When the target writes its own next step beside the draft: eager, always; idle, not "
            "while it judges; on-reject, only after a rejection.",
            _METHOD,
        ),
    ] = _SCHEDULE.fallback
    final_answer: Annotated[
        FinalAnswer,
        OptionSpec(
            "Who writes the final answer: the target, or the draft where its answer is verified.",
            _METHOD,
        ),
    ] = _SCHEDULE.final_answer
    token_reuse: Annotated[
        Literal["off", "verified", "ngram"],
        OptionSpec(
            "What the target takes of a rejected step where the engine is local: verified, the "
            "tokens that it would have written itself, which its judging has shown; ngram, and "
            "guesses for the rest from the question and earlier steps; off, nothing. The text "
            "stays the same, up to rounding.",
            _METHOD,
        ),
    ] = "verified"
    resamples: Annotated[
        int,
        OptionSpec(
            "Other candidates that the draft writes for a rejected step while the target writes "
            "its own; the first that a stricter gate accepts wins.",
            _METHOD,
            0,
            8,
        ),
    ] = _SCHEDULE.resamples
    deterministic: Annotated[
        bool,
        OptionSpec(
            "Always wait for the draft, so that the text does not depend on timing.", _METHOD
        ),
    ] = _SCHEDULE.deterministic
    target: Target = None
    draft: Annotated[
        str | None,
        OptionSpec(
            "The same of the draft, or embedded-before-sapo.", _MODELS, shown="the embedded one"
        ),
    ] = None
    target_model: TargetModel = None
    draft_model: Annotated[
        str | None, OptionSpec("The draft's name at its server.", _MODELS, shown="the only one")
    ] = None
    judge_prompt: JudgePrompt = None
    answer_marker: Annotated[
        str | None,
        OptionSpec(
            "What the target writes in front of its final answer.",
            _MODELS,
            shown="what its folder says, or Answer:",
        ),
    ] = None
    device: Annotated[
        str, OptionSpec("Torch device of the target: cpu, cuda, cuda:1.", _MODELS)
    ] = "cpu"
    draft_device: Annotated[
        str | None, OptionSpec("Torch device of the draft.", _MODELS, shown="the target's")
    ] = None
    threads: Annotated[
        int,
        OptionSpec(
            "Torch threads of each model on a CPU; more than cores in all is slow.", _MODELS, 1
        ),
    ] = 1
    max_tokens: Annotated[int, OptionSpec("Bound on the tokens of a run.", _SAMPLING, 1)] = (
        _SCHEDULE.max_tokens
    )
    max_steps: Annotated[int, OptionSpec("Bound on the steps of a run.", _SAMPLING, 1)] = (
        _SCHEDULE.max_steps
    )
    temperature: Annotated[float, OptionSpec("0 is greedy.", _SAMPLING, 0, 100)] = (
        _DRAWS.temperature
    )
    top_p: Annotated[
        float, OptionSpec("Sample from the most likely mass only.", _SAMPLING, 0.01, 1)
    ] = _DRAWS.top_p
    seed: Annotated[int, OptionSpec("Seed of the draws.", _SAMPLING, 0, 2**63 - 1)] = _DRAWS.seed

    def __post_init__(self) -> None:
        check_options(self)
        if self.method == "token-sd" and self.temperature > 0:
            raise BadOption("token-sd is greedy: leave --temperature at 0")
        if self.resamples and self.deterministic:
            raise BadOption("resamples depend on timing: leave out --resamples, or --deterministic")
        if self.draft_confidence is not None and self.profile is not None:
            raise BadOption(
                "a profile has its own gate: leave out --draft-confidence, or --profile"
            )
        if self.draft_confidence is not None and self.gate != "cascade":
            raise BadOption(
                "only a cascade trusts the draft: add --gate cascade to --draft-confidence"
            )

    def run_config(self, profile: Profile | None = None) -> RunConfig:
        """What the runner takes.

        Args:
            profile: the one that the options name, once it has been read; its gate decides.

        Raises:
            BadOption: the profile does not hold for these options.
            ValueError: the options name a profile, and none is given.
        """
        lookup = self.method == "prompt-lookup" or self.token_reuse == "ngram"
        return RunConfig(
            method=self.method,
            options=ScheduleConfig(
                window=self.window,
                fallback=self.fallback,
                deterministic=self.deterministic,
                final_answer=self.final_answer,
                resamples=self.resamples,
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
                return SameGate()
            case "token-sd":
                return AgreementGate()
            case _:
                return self._own_gate(profile)

    def _own_gate(self, profile: Profile | None) -> Gate:
        if self.profile is not None:
            if profile is None:
                raise ValueError(f"the profile {self.profile} has to be read before a run")
            if method(self.method).judges:  # one model alone decides nothing, and keeps no promise
                profile.check_options(asdict(self))
            return profile.gate
        match self.gate:
            case "adaptive":
                return AdaptiveGate(self.threshold)
            case "cascade":
                return CascadeGate(
                    self.threshold,
                    target_confidence=self.target_confidence,
                    draft_confidence=self.draft_confidence,
                )
            case "likelihood":
                return LikelihoodGate(self.threshold)
            case "ratio":
                return RatioGate(self.threshold)

    def source(self, role: Role) -> ModelSource:
        """Where the model of a role comes from."""
        target = role == "target"
        device = self.device if target or self.draft_device is None else self.draft_device
        return ModelSource(
            role=role,
            name=self.target if target else self.draft,
            server_model=self.target_model if target else self.draft_model,
            judge_prompt=self.judge_prompt,
            answer_marker=self.answer_marker,
            device=device,
            threads=self.threads,
        )

    @property
    def roles(self) -> tuple[Role, ...]:
        """The models that the method has use for."""
        return method(self.method).roles


# The options that say which models there are, and nothing of what is done with them.
MODEL_OPTIONS = tuple(
    name for name, (_, spec) in option_specs(RunOptions).items() if spec.group == _MODELS
)
