"""Options of a run, declared once.

The command line makes its flags, their help and their environment variables from `RunOptions`; the
Python API takes an instance of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias, get_args

from dreamr._families import VendorSampling
from dreamr._load_options import DeadlinePolicy, DeadlineSeconds, LoadAware
from dreamr._media_options import (
    READING,
    DraftFrames,
    Fps,
    Frames,
    FramesBy,
    Hotwords,
    NativeVideo,
    Pages,
    PdfText,
    Sound,
    Transcriber,
    TranscriberModel,
)
from dreamr._model_options import (
    MODELS,
    AnswerMarker,
    Delimiter,
    Device,
    Draft,
    DraftDevice,
    DraftDtype,
    DraftMaxPixels,
    DraftModel,
    DraftRevision,
    JudgePrompt,
    MaxPixels,
    MinStepTokens,
    Revision,
    Target,
    TargetDtype,
    TargetModel,
    Thinking,
    ThinkingBudget,
    Threads,
    Untrained,
    read_delimiter,
)
from dreamr._option_rules import RUN_CONFLICTS
from dreamr._option_specs import BadOption, OptionSpec, check_options, known_names, option_specs
from dreamr._sampling import (
    NO_VENDORS,
    FrequencyPenalty,
    LogitBias,
    MinP,
    ModelDefaults,
    PresencePenalty,
    RepetitionPenalty,
    Stop,
    Temperature,
    TopK,
    TopP,
    as_biases,
    check_sampling,
    chosen,
    recommended,
)
from dreamr.conversation import MAX_PIXELS_READ, BadPages, MediaOptions
from dreamr.engines import MAX_IMAGE_PIXELS, ModelSource, SamplingParams
from dreamr.gate import (
    AgreementGate,
    CascadeGate,
    Gate,
    GateName,
    Profile,
    SameGate,
    ScoreGate,
    make_gate,
)
from dreamr.runner import RunConfig, deadline_of
from dreamr.schedules import (
    Fallback,
    FinalAnswer,
    JudgeBatch,
    MethodName,
    ScheduleConfig,
    method,
)
from dreamr.steps import Role

_LOOKUP = 10  # tokens of a guess, as in transformers' prompt lookup
_METHOD, _SAMPLING = "Method", "Sampling and limits"
# Defaults of a run are those of its parts.
_SCHEDULE, _DRAWS, _CASCADE = ScheduleConfig(), SamplingParams(), CascadeGate()
_MEDIA = MediaOptions()

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
        MethodName,
        OptionSpec(f"Method: {', '.join(get_args(MethodName))}.", _METHOD),
    ] = "fpsr"
    window: Annotated[
        int,
        OptionSpec(
            "Drafted steps that may wait for verdicts; with lookahead, its depth.", _METHOD, 1
        ),
    ] = _SCHEDULE.window
    threshold: Threshold = _CASCADE.threshold
    gate: Annotated[
        GateName,
        OptionSpec(f"Gate: {', '.join(get_args(GateName))}.", _METHOD),
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
            "Cascade: lowest token probability by the target that skips the judge prompt, 0 to 1.",
            _METHOD,
            0,
            1,
        ),
    ] = _CASCADE.target_confidence
    draft_confidence: Annotated[
        float | None,
        OptionSpec(
            "Lowest confidence of the draft that skips verification, 0 to 1.",
            _METHOD,
            0,
            1,
            shown="by gate",
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
            "When the target also writes the next step: auto, eager (always), idle or on-reject.",
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
            "Steps of a judge call: auto, window (all that wait, in one request) or step (one).",
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
            "Other candidates that the draft writes for a rejected step, 0 to 8.",
            _METHOD,
            0,
            8,
            shown="0; by measured costs if the target is on a server, except in benches",
        ),
    ] = None
    deterministic: Annotated[
        bool,
        OptionSpec("Wait for the draft, so that the text does not depend on timing.", _METHOD),
    ] = _SCHEDULE.deterministic
    load_aware: LoadAware = True
    deadline: DeadlineSeconds = None
    on_deadline: DeadlinePolicy = "best"
    target: Target = None
    draft: Draft = None
    target_model: TargetModel = None
    draft_model: DraftModel = None
    revision: Revision = None
    draft_revision: DraftRevision = None
    judge_prompt: JudgePrompt = None
    thinking: Thinking = "auto"
    answer_marker: AnswerMarker = None
    delimiter: Delimiter = None
    min_step_tokens: MinStepTokens = None
    device: Device = "auto"
    draft_device: DraftDevice = None
    dtype: TargetDtype = "auto"
    draft_dtype: DraftDtype = None
    threads: Threads = 1
    untrained: Untrained = False
    max_pixels: MaxPixels = MAX_IMAGE_PIXELS
    draft_max_pixels: DraftMaxPixels = None
    pages: Pages = _MEDIA.pages
    pdf_text: PdfText = _MEDIA.pdf_text
    frames: Frames = _MEDIA.frames
    draft_frames: DraftFrames = None
    frames_by: FramesBy = _MEDIA.frames_by
    fps: Fps = _MEDIA.fps
    sound: Sound = _MEDIA.sound
    native_video: NativeVideo = "off"
    transcriber: Transcriber = None
    transcriber_model: TranscriberModel = None
    hotwords: Hotwords = ""
    max_tokens: Annotated[
        int, OptionSpec("Largest number of tokens of a run, over both models.", _SAMPLING, 1)
    ] = _SCHEDULE.max_tokens
    max_steps: Annotated[
        int, OptionSpec("Largest number of steps of a run, over both models.", _SAMPLING, 1)
    ] = _SCHEDULE.max_steps
    thinking_budget: ThinkingBudget = None
    temperature: Temperature = None
    top_p: TopP = _DRAWS.top_p
    top_k: TopK = _DRAWS.top_k
    min_p: MinP = _DRAWS.min_p
    presence_penalty: PresencePenalty = _DRAWS.presence_penalty
    frequency_penalty: FrequencyPenalty = _DRAWS.frequency_penalty
    repetition_penalty: RepetitionPenalty = _DRAWS.repetition_penalty
    stop: Stop = ()
    logit_bias: LogitBias = ()
    model_defaults: ModelDefaults = True
    seed: Annotated[
        int, OptionSpec("Random seed of sampling, 0 or larger.", _SAMPLING, 0, 2**63 - 1)
    ] = _DRAWS.seed

    def __post_init__(self) -> None:
        object.__setattr__(self, "logit_bias", as_biases(self.logit_bias))
        check_options(self, RUN_CONFLICTS)
        check_sampling(self)
        read_delimiter(self.delimiter)
        try:
            self.media()
        except BadPages as error:
            raise BadOption(f"--pages: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON values, by name; `RunOptions(**values)` reads them back."""
        values = asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    def run_config(
        self, profile: Profile | None = None, vendors: Mapping[Role, VendorSampling] = NO_VENDORS
    ) -> RunConfig:
        """Return the configuration for the runner.

        Args:
            profile: Contents of the profile that the options name. Its gate decides.
            vendors: Sampling that the vendors of the models recommend, where it applies.

        Raises:
            BadOption: If the profile was made for other options.
            ValueError: If the options name a profile and none is passed.
        """
        lookup = self.method == "prompt-lookup" or self.token_reuse == "ngram"
        sampling = replace(
            chosen(self),
            lookup=_LOOKUP if lookup else 0,
            token_reuse=self.token_reuse != "off",
        )
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
            sampling=recommended(sampling, vendors.get("target")),
            draft_sampling=recommended(sampling, vendors.get("draft")) if vendors else None,
            stop=self.stop,
            thinking_budget=self.thinking_budget,
            calibrated=self.profile is not None,
            draft_frames=self.draft_frames,
            native_video=self.native_video,
            deadline=deadline_of(self.deadline, self.on_deadline),
        )

    def media(self, pixels: int | None = None) -> MediaOptions:
        """Return how attachments are read.

        Args:
            pixels: Pixels of a page or frame above which no model gets more; None if unknown.
        """
        chosen = {name: getattr(self, name) for name in READING}
        most = None if pixels is None else min(pixels, MAX_PIXELS_READ)
        return MediaOptions(**chosen, max_pixels=most, keep_file=self.native_video != "off")

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
                profile.check_options({**asdict(self), "temperature": self.temperature or 0.0})
            return profile.gate
        return make_gate(self.gate, {**asdict(self), "min_mass": self.min_label_mass})

    def source(self, role: Role) -> ModelSource:
        """Return the model of a role and how to open it."""
        target = role == "target"
        device = self.device if target or self.draft_device is None else self.draft_device
        dtype = self.dtype if target or self.draft_dtype is None else self.draft_dtype
        pixels = None if target else self.draft_max_pixels
        return ModelSource(
            role=role,
            name=self.target if target else self.draft,
            server_model=self.target_model if target else self.draft_model,
            revision=self.revision if target else self.draft_revision,
            judge_prompt=self.judge_prompt,
            thinking=self.thinking,
            answer_marker=self.answer_marker,
            delimiter=read_delimiter(self.delimiter),
            min_step_tokens=self.min_step_tokens,
            device=device,
            dtype=dtype,
            deterministic=self.deterministic,
            threads=self.threads,
            untrained=self.untrained,
            max_pixels=self.max_pixels if pixels is None else pixels,
        )

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles of the models that the method uses."""
        return method(self.method).roles


# Options that choose and open the models.
MODEL_OPTIONS = tuple(
    name for name, (_, spec) in option_specs(RunOptions).items() if spec.group == MODELS
)
