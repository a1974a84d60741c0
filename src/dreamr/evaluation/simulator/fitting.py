"""Estimation of engine costs from the spans of recorded runs.

The runner records the spans, so they include message delays and the load of the machine. Outliers
at both ends are dropped. The rest is averaged with the mean, because the time of a run is a sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING, Self, TypeVar

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import BadScenario
from dreamr.schedules import ScheduleConfig

if TYPE_CHECKING:
    from dreamr.evaluation.bench import Sample, Span

T = TypeVar("T")

_TRIMMED = 0.05  # share of the values that is dropped at either end
_NO_PAUSE = 2e-4  # seconds between two steps of a lane, below which it did not pause
_MAX_REACTION = 5e-3  # seconds; work that begins later did not react to the verdicts
_ENOUGH = 10  # values; with fewer, less reliable ones are used too
_MIN_SECONDS = 1e-9
_MAX_AHEAD = 40  # tokens
DECIDED = ("accepted", "rejected")  # fates of drafted steps that got a verdict


@dataclass(frozen=True, slots=True)
class Fit:
    """Costs of the engines, and distributions for steps that were not recorded.

    Attributes:
        costs: Costs of the engines, in seconds.
        run: Mean seconds of a run before its first span and after its last.
        drafted: Token counts of the draft's steps.
        own: Token counts of the target's steps when it ran alone.
        acceptance: Share of the decided steps that were accepted, in [0, 1].
    """

    costs: Costs
    run: float
    drafted: tuple[int, ...]
    own: tuple[int, ...]
    acceptance: float


@dataclass(frozen=True, slots=True)
class MethodTraits:
    """Properties of a method that its spans do not show.

    Attributes:
        eager: Whether the target starts with the run and reads along even if none of its spans is
            recorded.
        same_text: Whether accepted steps without a ratio were accepted because the target wrote the
            same text. Otherwise they were accepted without the target.
    """

    eager: bool = False
    same_text: bool = False

    @classmethod
    def of(cls, method: str, options: ScheduleConfig) -> Self:
        """Return the traits of a method with these options."""
        always = ("eager",) if options.independent else ("eager", "auto")  # see `ScheduleConfig`
        return cls(method == "fpsr" and options.fallback in always, method == "lookahead")


@dataclass(frozen=True, slots=True)
class Opening:
    """The first judge call of a run that returned verdicts.

    Attributes:
        steps: Number of judged steps.
        tokens: Tokens of these steps and of the steps before them that were accepted without the
            target.
        seconds: Duration, including the target's prefill of the prompt, excluding its decoding.
    """

    steps: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _DraftedStep:
    """A step that directly follows another on the draft's lane.

    Attributes:
        tokens: Tokens of the step.
        seconds: Duration of its span.
        paused: Whether the lane paused before it.
    """

    tokens: int
    seconds: float
    paused: bool


@dataclass(frozen=True, slots=True, order=True)
class _DraftPace:
    """Speed of the draft. The smallest instance is the best fit.

    Attributes:
        error: Sum of squared residuals, in seconds squared.
        token: Seconds per token.
        ahead: Tokens that a paused draft has already decoded when it resumes.
    """

    error: float
    token: float
    ahead: int


@dataclass(frozen=True, slots=True)
class _JudgeCall:
    """A judge call: steps, tokens, and seconds without the time it waited for the target."""

    steps: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _JudgeCost:
    """Seconds per judge call, per judged step and per token of these steps."""

    call: float = 0.0
    step: float = 0.0
    token: float = 0.0

    def residual(self, call: _JudgeCall) -> float:
        """Return by how many seconds a call exceeds the model's prediction."""
        return call.seconds - (self.call + self.step * call.steps + self.token * call.tokens)


def fit(
    target: Sequence[Sample], samples: Sequence[Sample], traits: MethodTraits = MethodTraits()
) -> Fit:
    """Estimate costs from runs of the target alone and of one speculative method.

    Args:
        target: Samples of the target alone.
        samples: Samples of the method.
        traits: Properties of the method that its spans do not show.

    Raises:
        BadScenario: If samples or spans are missing.
    """
    own = [span for sample in target for span in sample.spans if span.lane == "target"]
    if not own or not samples:
        raise BadScenario("a replay needs samples of 'target' and of a speculative method")
    target_token = _seconds_per_token(_followers(target, "target") or own, "target")
    drafting = _drafting(samples)
    prompts = {(s.task, s.index): prompt_of(s, target_token) for s in target}
    judging = _judging(samples, target_token, prompts, traits)
    costs = Costs(
        draft=drafting.token,
        target=target_token,
        judge=judging.call,
        judge_step=judging.step,
        judge_token=judging.token,
        open_draft=_opening(samples, drafting.token),
        message=_message(samples),
        ahead=drafting.ahead,
    )
    decided = [s.fate for sample in samples for s in sample.spans if s.fate in DECIDED]
    return Fit(
        costs,
        fmean(_outside(sample) for sample in samples),
        tuple(s.tokens for x in samples for s in x.spans if s.lane == "draft" and s.tokens) or (1,),
        tuple(span.tokens for span in own if span.fate == "kept") or (1,),
        decided.count("accepted") / len(decided) if decided else 0.0,
    )


def judge_spans(sample: Sample) -> list[Span]:
    """Return the judge calls that returned verdicts, in order."""
    return [span for span in sample.spans if span.lane == "judge" and span.fate == "judging"]


def prompt_of(alone: Sample, token: float) -> float:
    """Return the seconds that the target alone took to prefill the prompt.

    Args:
        alone: A run of the target alone.
        token: Seconds per token that the target decodes.
    """
    own = (span for span in alone.spans if span.lane == "target")
    first = min(own, key=lambda span: span.start, default=None)
    return 0.0 if first is None else max(0.0, first.seconds - first.tokens * token)


def skipped_before(sample: Sample, work: Span, traits: MethodTraits, since: int = 0) -> int:
    """Count the tokens at positions before that of `work` that were accepted without the target.

    Args:
        sample: The run.
        work: A span of the run.
        traits: Properties of the method.
        since: First position that counts.
    """
    return sum(
        span.tokens
        for span in sample.spans
        if span.fate == "accepted"
        and span.ratio is None
        and since <= span.position < work.position
        and not traits.same_text
    )


def read_before(sample: Sample, work: Span) -> int:
    """Return the position up to which the target had read, or was reading, when `work` began."""
    read = [span.position for span in judge_spans(sample) if span.end <= work.start]
    read += [s.position for s in sample.spans if s.lane == "target" and s.start < work.start]
    return max(read, default=0)


def opening(sample: Sample, token: float, traits: MethodTraits) -> Opening | None:
    """Return the first judge call with verdicts, or None if there is none.

    Args:
        sample: The run.
        token: Seconds per token that the target decodes.
        traits: Properties of the method.
    """
    calls = judge_spans(sample)
    if not calls:
        return None
    call = calls[0]
    before = [s for s in sample.spans if s.lane == "target" and s.start < call.start]
    begun = 0.0 if traits.eager else min((span.start for span in before), default=call.start)
    written = sum(span.tokens for span in before if span.end <= call.end + token)
    tokens = call.tokens + skipped_before(sample, call, traits)
    return Opening(call.steps, tokens, call.end - begun - written * token)


def overlap(span: Span, others: Iterable[Span]) -> float:
    """Return the seconds of `span` during which others ran; these must not overlap each other."""
    return sum(max(0.0, min(span.end, o.end) - max(span.start, o.start)) for o in others)


def _seconds_per_token(spans: Sequence[Span], what: str) -> float:
    """Return the seconds per token of spans that contain nothing but decoding."""
    spans = [span for span in spans if span.tokens > 0]
    if not spans:
        raise BadScenario(
            f"the speed of the {what} is unknown: none of its recorded spans has tokens"
        )
    kept = _trimmed(sorted(spans, key=lambda span: span.seconds / span.tokens))
    tokens = sum(span.tokens for span in kept)
    return max(_MIN_SECONDS, sum(span.seconds for span in kept) / tokens)


def _followers(samples: Iterable[Sample], lane: str) -> list[Span]:
    """Return the spans that follow the previous one on their lane without a pause."""
    return [b for a, b in _neighbors(samples, lane) if b.start - a.end < _NO_PAUSE]


def _neighbors(samples: Iterable[Sample], lane: str) -> list[tuple[Span, Span]]:
    """Return pairs of consecutive spans on a lane whose positions are consecutive too."""
    found = []
    for sample in samples:
        spans = sorted((s for s in sample.spans if s.lane == lane), key=lambda s: s.start)
        found += [(a, b) for a, b in pairwise(spans) if b.position == a.position + 1]
    return found


def _openers(samples: Iterable[Sample]) -> list[Span]:
    """Return the first spans of draft lanes that were opened during a run."""
    found = []
    for sample in samples:
        spans = sorted((s for s in sample.spans if s.lane == "draft"), key=lambda s: s.start)
        found += [b for a, b in pairwise(spans) if b.position <= a.position]
    return found


def _drafting(samples: Sequence[Sample]) -> _DraftPace:
    """Estimate the draft's speed and how far it decodes ahead while paused.

    Tries each number of tokens ahead. The seconds per token follow from the total time, and the
    number with the smallest squared error over all spans wins.
    """
    pairs = [pair for pair in _neighbors(samples, "draft") if pair[1].fate in DECIDED]
    steps = [_DraftedStep(b.tokens, b.seconds, b.start - a.end > _NO_PAUSE) for a, b in pairs]
    if len(steps) < _ENOUGH:
        spans = [s for sample in samples for s in sample.spans if s.lane == "draft"]
        return _DraftPace(0.0, _seconds_per_token(spans, "draft"), 0)
    steps = _trimmed(sorted(steps, key=lambda step: step.seconds / max(1, step.tokens)))
    best = _DraftPace(float("inf"), _MIN_SECONDS, 0)
    for ahead in range(_MAX_AHEAD + 1 if any(step.paused for step in steps) else 1):
        computed = [max(0, s.tokens - ahead) if s.paused else s.tokens for s in steps]
        token = sum(step.seconds for step in steps) / max(1, sum(computed))
        error = sum((s.seconds - token * n) ** 2 for s, n in zip(steps, computed, strict=True))
        best = min(best, _DraftPace(error, max(token, _MIN_SECONDS), ahead))
    return best


def _opening(samples: Sequence[Sample], token: float) -> float:
    extra = [span.seconds - span.tokens * token for span in _openers(samples) if span.tokens]
    return max(0.0, median(extra)) if len(extra) >= _ENOUGH else 0.0


def _judging(
    samples: Sequence[Sample],
    token: float,
    prompts: Mapping[tuple[str, int], float],
    traits: MethodTraits,
) -> _JudgeCost:
    """Fit the cost of judge calls by least squares without outliers.

    The first call of a run may include the prefill of the prompt. First calls are used only if
    there are not enough others.

    Args:
        samples: Runs of the method.
        token: Seconds per token that the target decodes.
        prompts: Seconds that the target alone took to prefill, by task and index.
        traits: Properties of the method.
    """
    calls = [call for sample in samples for call in _later_calls(sample, token, traits)]
    if len(calls) < _ENOUGH:
        for sample in samples:
            if opened := opening(sample, token, traits):
                seconds = opened.seconds - prompts.get((sample.task, sample.index), 0.0)
                calls.append(_JudgeCall(opened.steps, opened.tokens, seconds))
    if not calls:
        return _JudgeCost()
    for _ in range(3):
        found = _least_squares(calls)
        if len(calls) < 2 * _ENOUGH:
            break
        calls = _trimmed(sorted(calls, key=found.residual))
    return found


def _later_calls(sample: Sample, token: float, traits: MethodTraits) -> list[_JudgeCall]:
    """Return all judge calls of a run but the first, without waiting times.

    A call that begins while the target decodes waits half a token on average.
    """
    writing = [span for span in sample.spans if span.lane == "target"]
    calls = []
    for span in judge_spans(sample)[1:]:
        waited = any(other.start < span.start < other.end for other in writing)
        before = skipped_before(sample, span, traits, read_before(sample, span))
        seconds = span.seconds - (token / 2 if waited else 0.0)
        calls.append(_JudgeCall(span.steps, span.tokens + before, seconds))
    return calls


def _least_squares(calls: Sequence[_JudgeCall]) -> _JudgeCost:
    """Return the non-negative costs that fit the calls best."""
    import numpy as np  # slow to import, and only replays need it

    table = np.array([(1.0, call.steps, call.tokens) for call in calls])
    seconds = np.array([call.seconds for call in calls])
    used = [0, 1, 2]
    while True:
        found, *_ = np.linalg.lstsq(table[:, used], seconds, rcond=None)
        if len(used) == 1 or found.min() >= 0:
            break
        used.pop(int(found.argmin()))
    costs = [0.0, 0.0, 0.0]
    for place, value in zip(used, found, strict=True):
        costs[place] = max(0.0, float(value))
    return _JudgeCost(*costs)


def _message(samples: Sequence[Sample]) -> float:
    """Return the median delay from a verdict to the first work that follows it, in seconds."""
    gaps = []
    for sample in samples:
        starts = sorted(span.start for span in sample.spans)
        for span in judge_spans(sample):
            after = next((start for start in starts if start >= span.end), None)
            if after is not None and after - span.end < _MAX_REACTION:
                gaps.append(after - span.end)
    return median(gaps) if gaps else 0.0


def _outside(sample: Sample) -> float:
    """Return the seconds before the first span and after the last."""
    first = min((span.start for span in sample.spans), default=0.0)
    last = max((span.end for span in sample.spans), default=sample.seconds)
    return max(0.0, first + sample.seconds - last)


def _trimmed(values: list[T]) -> list[T]:
    """Return sorted values without the lowest and highest."""
    cut = int(_TRIMMED * len(values))
    return values[cut : len(values) - cut]
