"""What the engines cost, read from the spans of recorded runs.

Spans are what the runner saw: they hold messages and the load of the machine as well. Outliers are
cut off at both ends, and what is left is averaged, since a run's time is a sum.
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

_CUT = 0.05  # of the values, at either end
_AT_ONCE = 2e-4  # seconds: a step that follows another without a pause begins as that ends
_SOON = 5e-3  # seconds: what follows later than this was not waited for
_ENOUGH = 10  # values, below which others are taken too
_LEAST_SECONDS = 1e-9
_MOST_AHEAD = 40  # tokens
DECIDED = ("accepted", "rejected")  # what became of steps that had their turn


@dataclass(frozen=True, slots=True)
class Fit:
    """Costs of the engines, and the distributions behind what was not recorded.

    run: seconds of a run before its first span and after its last. drafted, own: tokens of the
    steps that draft and target wrote. acceptance: of the steps that were decided on.
    """

    costs: Costs
    run: float
    drafted: tuple[int, ...]
    own: tuple[int, ...]
    acceptance: float


@dataclass(frozen=True, slots=True)
class Manner:
    """Of a method, what its spans do not say.

    eager: whether the target begins with each run, and reads along even where it is not heard of.
    alike: whether steps that nobody was asked about were accepted because the target wrote the
    same; else because the draft was trusted.
    """

    eager: bool = False
    alike: bool = False

    @classmethod
    def of(cls, method: str, options: ScheduleConfig) -> Self:
        """That of a schedule."""
        return cls(method == "fpsr" and options.fallback == "eager", method == "lookahead")


@dataclass(frozen=True, slots=True)
class Opening:
    """The first judge call of a run that gave verdicts.

    tokens: of its steps, and of what was trusted before them. seconds: with the question's reading,
    and without what the target wrote beside.
    """

    steps: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _DraftedStep:
    """A step that follows another on the draft's lane. paused: whether there was time between."""

    tokens: int
    seconds: float
    paused: bool


@dataclass(frozen=True, slots=True, order=True)
class _DraftPace:
    """How fast the draft writes; the least is the one that fits best.

    error: summed squares of what it is off, in seconds². token: seconds of one. ahead: tokens that
    are there already when a paused draft goes on.
    """

    error: float
    token: float
    ahead: int


@dataclass(frozen=True, slots=True)
class _JudgeCall:
    """What a judge call was about, and its seconds without what it waited for."""

    steps: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _JudgePrice:
    """Seconds of a judge call, of each of its steps and of each of their tokens."""

    call: float = 0.0
    step: float = 0.0
    token: float = 0.0

    def off(self, call: _JudgeCall) -> float:
        """How many seconds longer a call took."""
        return call.seconds - (self.call + self.step * call.steps + self.token * call.tokens)


def fit(target: Sequence[Sample], samples: Sequence[Sample], manner: Manner = Manner()) -> Fit:
    """Costs from runs of the target alone and of one speculative method.

    Raises:
        BadScenario: nothing to fit, for want of samples or spans.
    """
    own = [span for sample in target for span in sample.spans if span.lane == "target"]
    if not own or not samples:
        raise BadScenario("a replay needs samples of 'target' and of another method")
    target_token = _rate(_followers(target, "target") or own, "target")
    drafting = _drafting(samples)
    prompts = {(s.task, s.index): prompt_of(s, target_token) for s in target}
    judging = _judging(samples, target_token, prompts, manner)
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
    """The judge calls that gave verdicts, in order."""
    return [span for span in sample.spans if span.lane == "judge" and span.fate == "judging"]


def prompt_of(alone: Sample, token: float) -> float:
    """Seconds in which the target read the question, in a run of its own; token: of its text."""
    own = (span for span in alone.spans if span.lane == "target")
    first = min(own, key=lambda span: span.start, default=None)
    return 0.0 if first is None else max(0.0, first.seconds - first.tokens * token)


def skipped_before(sample: Sample, work: Span, manner: Manner, since: int = 0) -> int:
    """Tokens that were accepted without the target before what a piece of its work is about.

    since: the position from which on they count.
    """
    return sum(
        span.tokens
        for span in sample.spans
        if span.fate == "accepted"
        and span.ratio is None
        and since <= span.position < work.position
        and not manner.alike
    )


def read_before(sample: Sample, work: Span) -> int:
    """Up to which position the target had read, or was reading, when a piece of work began."""
    read = [span.position for span in judge_spans(sample) if span.end <= work.start]
    read += [s.position for s in sample.spans if s.lane == "target" and s.start < work.start]
    return max(read, default=0)


def opening(sample: Sample, token: float, manner: Manner) -> Opening | None:
    """None where there is no such call. token: seconds of one of the target's."""
    calls = judge_spans(sample)
    if not calls:
        return None
    call = calls[0]
    before = [s for s in sample.spans if s.lane == "target" and s.start < call.start]
    begun = 0.0 if manner.eager else min((span.start for span in before), default=call.start)
    written = sum(span.tokens for span in before if span.end <= call.end + token)
    tokens = call.tokens + skipped_before(sample, call, manner)
    return Opening(call.steps, tokens, call.end - begun - written * token)


def overlap(span: Span, others: Iterable[Span]) -> float:
    """Seconds of a span during which one of the others was under way; these do not overlap."""
    return sum(max(0.0, min(span.end, o.end) - max(span.start, o.start)) for o in others)


def _rate(spans: Sequence[Span], what: str) -> float:
    """Seconds a token, over spans that hold nothing but writing."""
    spans = [span for span in spans if span.tokens > 0]
    if not spans:
        raise BadScenario(f"no span shows how fast the {what} writes")
    kept = _trimmed(sorted(spans, key=lambda span: span.seconds / span.tokens))
    tokens = sum(span.tokens for span in kept)
    return max(_LEAST_SECONDS, sum(span.seconds for span in kept) / tokens)


def _followers(samples: Iterable[Sample], lane: str) -> list[Span]:
    """Spans that go on from the one before them, without a pause."""
    return [b for a, b in _neighbors(samples, lane) if b.start - a.end < _AT_ONCE]


def _neighbors(samples: Iterable[Sample], lane: str) -> list[tuple[Span, Span]]:
    """Spans that follow each other on a lane, the second at the next position."""
    found = []
    for sample in samples:
        spans = sorted((s for s in sample.spans if s.lane == lane), key=lambda s: s.start)
        found += [(a, b) for a, b in pairwise(spans) if b.position == a.position + 1]
    return found


def _openers(samples: Iterable[Sample]) -> list[Span]:
    """The first spans of drafts that were opened in mid-run."""
    found = []
    for sample in samples:
        spans = sorted((s for s in sample.spans if s.lane == "draft"), key=lambda s: s.start)
        found += [b for a, b in pairwise(spans) if b.position <= a.position]
    return found


def _drafting(samples: Sequence[Sample]) -> _DraftPace:
    """How fast the draft writes, and how far ahead it is where it was paused.

    So many tokens ahead are tried in turn; with each, the seconds a token are those that give the
    right sum, and the one is taken that comes closest span by span.
    """
    pairs = [pair for pair in _neighbors(samples, "draft") if pair[1].fate in DECIDED]
    steps = [_DraftedStep(b.tokens, b.seconds, b.start - a.end > _AT_ONCE) for a, b in pairs]
    if len(steps) < _ENOUGH:
        spans = [s for sample in samples for s in sample.spans if s.lane == "draft"]
        return _DraftPace(0.0, _rate(spans, "draft"), 0)
    steps = _trimmed(sorted(steps, key=lambda step: step.seconds / max(1, step.tokens)))
    best = _DraftPace(float("inf"), _LEAST_SECONDS, 0)
    for ahead in range(_MOST_AHEAD + 1 if any(step.paused for step in steps) else 1):
        computed = [max(0, s.tokens - ahead) if s.paused else s.tokens for s in steps]
        token = sum(step.seconds for step in steps) / max(1, sum(computed))
        error = sum((s.seconds - token * n) ** 2 for s, n in zip(steps, computed, strict=True))
        best = min(best, _DraftPace(error, max(token, _LEAST_SECONDS), ahead))
    return best


def _opening(samples: Sequence[Sample], token: float) -> float:
    extra = [span.seconds - span.tokens * token for span in _openers(samples) if span.tokens]
    return max(0.0, median(extra)) if len(extra) >= _ENOUGH else 0.0


def _judging(
    samples: Sequence[Sample],
    token: float,
    prompts: Mapping[tuple[str, int], float],
    manner: Manner,
) -> _JudgePrice:
    """Least squares without outliers.

    The first call of a run may wait for the question to be read, so it is left out where there are
    enough others. prompts: how long that took the target alone, by task and index.
    """
    calls = [call for sample in samples for call in _later_calls(sample, token, manner)]
    if len(calls) < _ENOUGH:
        for sample in samples:
            if opened := opening(sample, token, manner):
                seconds = opened.seconds - prompts.get((sample.task, sample.index), 0.0)
                calls.append(_JudgeCall(opened.steps, opened.tokens, seconds))
    if not calls:
        return _JudgePrice()
    for _ in range(3):
        found = _least_squares(calls)
        if len(calls) < 2 * _ENOUGH:
            break
        calls = _trimmed(sorted(calls, key=found.off))
    return found


def _later_calls(sample: Sample, token: float, manner: Manner) -> list[_JudgeCall]:
    """All calls of a run but the first; any may wait for the target's token under way."""
    writing = [span for span in sample.spans if span.lane == "target"]
    calls = []
    for span in judge_spans(sample)[1:]:
        waited = any(other.start < span.start < other.end for other in writing)
        before = skipped_before(sample, span, manner, read_before(sample, span))
        seconds = span.seconds - (token / 2 if waited else 0.0)
        calls.append(_JudgeCall(span.steps, span.tokens + before, seconds))
    return calls


def _least_squares(calls: Sequence[_JudgeCall]) -> _JudgePrice:
    """The prices, none of them negative, that come closest to the calls."""
    import numpy as np  # heavy, and a replay alone needs it

    table = np.array([(1.0, call.steps, call.tokens) for call in calls])
    seconds = np.array([call.seconds for call in calls])
    used = [0, 1, 2]
    while True:
        found, *_ = np.linalg.lstsq(table[:, used], seconds, rcond=None)
        if len(used) == 1 or found.min() >= 0:
            break
        used.pop(int(found.argmin()))
    prices = [0.0, 0.0, 0.0]
    for place, value in zip(used, found, strict=True):
        prices[place] = max(0.0, float(value))
    return _JudgePrice(*prices)


def _message(samples: Sequence[Sample]) -> float:
    """From verdicts to what the schedule makes of them."""
    gaps = []
    for sample in samples:
        starts = sorted(span.start for span in sample.spans)
        for span in judge_spans(sample):
            after = next((start for start in starts if start >= span.end), None)
            if after is not None and after - span.end < _SOON:
                gaps.append(after - span.end)
    return median(gaps) if gaps else 0.0


def _outside(sample: Sample) -> float:
    """Seconds before the first span and after the last."""
    first = min((span.start for span in sample.spans), default=0.0)
    last = max((span.end for span in sample.spans), default=sample.seconds)
    return max(0.0, first + sample.seconds - last)


def _trimmed(values: list[T]) -> list[T]:
    """Without the lowest and the highest, of sorted values."""
    cut = int(_CUT * len(values))
    return values[cut : len(values) - cut]
