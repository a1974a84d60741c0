"""Replay of recorded runs in virtual time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import BadScenario, Devices
from dreamr.evaluation.simulator.fitting import (
    DECIDED,
    Fit,
    MethodTraits,
    fit,
    judge_spans,
    opening,
    overlap,
    prompt_of,
    read_before,
    skipped_before,
)
from dreamr.evaluation.simulator.scenario import run_scripts
from dreamr.evaluation.simulator.script import DraftedStep, Script, TargetStep
from dreamr.schedules import ScheduleConfig

if TYPE_CHECKING:
    from dreamr.evaluation.bench import Sample, Span

# Two local workers. A pass runs alone; four concurrent streams take 2.6 times as long as one
# (benchmarks/results/worker-concurrency.json).
WORKER = Devices(serialize=True, slowdown=0.55)
# Seconds. If the target's step ends later than the draft's last by more, the draft had ended.
_END_GAP = 1e-3


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted and measured times of recorded runs.

    Attributes:
        problems: Number of problems.
        seconds: Predicted seconds of the method, summed over all problems.
        ideal_seconds: The same for the engines' work alone: no messages, no opening of lanes,
            nothing before or after a run, and prefill of at most the median duration.
        measured: Measured seconds of the method, summed over all problems.
        target: Measured seconds of the target alone, summed over all problems.
        costs: The fitted costs, in seconds.
    """

    problems: int
    seconds: float
    ideal_seconds: float
    measured: float
    target: float
    costs: Costs

    @property
    def speedup(self) -> float:
        """Predicted speed-up over the measured target alone."""
        return self.target / self.seconds

    @property
    def ideal_speedup(self) -> float:
        """Ideal speed-up over the measured target alone."""
        return self.target / self.ideal_seconds

    @property
    def measured_speedup(self) -> float:
        """Measured speed-up over the target alone."""
        return self.target / self.measured

    @property
    def error(self) -> float:
        """Relative error of the predicted speed-up."""
        return self.speedup / self.measured_speedup - 1

    @property
    def efficiency(self) -> float:
        """Measured speed-up as a share of the ideal one."""
        return self.ideal_seconds / self.measured


def replay(
    target: Sequence[Sample],
    samples: Sequence[Sample],
    method: str = "fpsr",
    options: ScheduleConfig | None = None,
    *,
    devices: Devices = WORKER,
    fitted: Fit | None = None,
) -> Prediction:
    """Run a schedule in virtual time with the steps of recorded runs.

    What was committed is committed again. If the replay needs a step that was not recorded, such as
    a fallback that was canceled, it takes the target's step at that position in its own run, or a
    step of a recorded length. The choice is the same in each replay.

    Args:
        target: Samples of the target alone.
        samples: Samples of one method. Failed runs of either, and problems that only one of the
            two has, are left out.
        method: Name of the schedule.
        options: Its options in the recorded runs.
        devices: Devices of the replay.
        fitted: Costs; by default they are estimated from these samples.

    Raises:
        BadScenario: If no problem is left.
    """
    both = _paired(target, samples)
    options = options or ScheduleConfig()
    traits = MethodTraits.of(method, options)
    if fitted is None:
        fitted = fit([own for own, _ in both], [sample for _, sample in both], traits)
    runs = [_Recorded(sample, own, fitted, traits) for own, sample in both]
    median_prompts = _Prompts(
        median(run.prompts.draft for run in runs), median(run.prompts.target for run in runs)
    )

    def total(costs: Costs, limit: _Prompts | None) -> float:
        return sum(
            run_scripts(
                [run.script(limit is not None)],
                method,
                options,
                run.with_prompts(costs, limit),
                devices,
            ).seconds
            for run in runs
        )

    return Prediction(
        len(both),
        total(fitted.costs, None) + len(both) * fitted.run,
        total(fitted.costs.ideal, median_prompts),
        sum(sample.seconds for _, sample in both),
        sum(own.seconds for own, _ in both),
        fitted.costs,
    )


def _paired(target: Sequence[Sample], samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    def problem(sample: Sample) -> tuple[str, int, int]:
        return (sample.task, sample.index, sample.concurrency)

    alone: Mapping[tuple[str, int, int], Sample] = {
        problem(own): own for own in target if own.finish != "failed"
    }
    both = [
        (alone[problem(sample)], sample)
        for sample in samples
        if problem(sample) in alone and sample.finish != "failed" and sample.steps
    ]
    if not both:
        raise BadScenario(
            "no problem has a complete run with both 'target' and the other method: run the bench "
            "again to complete it"
        )
    return both


class _Prompts(NamedTuple):
    """Seconds in which each model prefilled the prompt."""

    draft: float
    target: float


class _Recorded:
    """A recorded run, indexed by position."""

    def __init__(self, sample: Sample, alone: Sample, fitted: Fit, traits: MethodTraits) -> None:
        self._sample, self._alone, self._fit, self._traits = sample, alone, fitted, traits
        self._calls = judge_spans(sample)
        self._own = {s.position: s for s in alone.spans if s.lane == "target" and s.fate == "kept"}
        self._spans: dict[tuple[str, int], list[Span]] = {}
        for span in sorted(sample.spans, key=lambda span: span.start):
            self._spans.setdefault((span.lane, span.position), []).append(span)
        self.prompts = _Prompts(self._prompt_draft(), self._prompt_target())

    def with_prompts(self, costs: Costs, limit: _Prompts | None) -> Costs:
        """Return the costs with this run's prefill times, each at most that of `limit`."""
        draft, target = self.prompts
        if limit is not None:
            draft, target = min(draft, limit.draft), min(target, limit.target)
        return replace(costs, prompt_draft=draft, prompt_target=target)

    def script(self, ideal: bool) -> Script:
        """Return the script of the run.

        Args:
            ideal: Whether to count a target step's work as at most its tokens.
        """
        positions = range(self._sample.steps)
        drafted = [self._drafted(position) for position in positions]
        own = [self._written(position, ideal) for position in positions]
        return Script(drafted, own, ends=self._sample.finish in ("answer", "stop"))

    def _prompt_draft(self) -> float:
        first = min(self._of("draft"), key=lambda span: span.start, default=None)
        if first is None or not first.tokens:
            return 0.0
        costs = self._fit.costs
        return max(0.0, first.seconds - first.tokens * costs.draft - costs.open_draft)

    def _prompt_target(self) -> float:
        """Return the seconds that the target's first complete work took beyond its cost."""
        sample, costs, traits = self._sample, self._fit.costs, self._traits
        if opened := opening(sample, costs.target, traits):
            return max(0.0, opened.seconds - costs.judging(opened.steps, opened.tokens))
        first = min(self._of("target"), key=lambda span: span.start, default=None)
        if first is None:  # no span of the target was recorded
            return prompt_of(self._alone, costs.target)
        seconds = prompt_of(sample, costs.target) + (first.start if traits.eager else 0.0)
        return max(0.0, seconds - costs.judge_token * skipped_before(sample, first, traits))

    def _of(self, lane: str) -> list[Span]:
        return [span for span in self._sample.spans if span.lane == lane]

    def _drafted(self, position: int) -> DraftedStep:
        spans = self._spans.get(("draft", position), [])
        decided = [span for span in spans if span.fate in DECIDED]
        if decided:
            first, same_text = decided[0], self._traits.same_text
            if first.fate == "rejected":
                # The rest are resamples, which are judged one at a time in this order.
                resamples = [s.fate for s in sorted(decided[1:], key=lambda span: span.end)]
                again = 1 + resamples.index("accepted") if "accepted" in resamples else 0
                return DraftedStep(
                    first.tokens, False, completes=self._completed(first), resample=again
                )
            unjudged = first.ratio is None
            return DraftedStep(
                first.tokens,
                True,
                same=unjudged and same_text,
                skipped_verification=unjudged and not same_text,
            )
        if spans and self._is_draft_end(spans[-1], position):
            return DraftedStep(spans[-1].tokens, accepted=False, draft_end=True)
        rng = self._rng("draft", position)
        least = spans[-1].tokens if spans else 0
        tokens = max(least, rng.choice(self._fit.drafted), self._losing_tokens(position))
        return DraftedStep(tokens, rng.random() < self._fit.acceptance)

    def _completed(self, rejected: Span) -> int:
        """Return the tokens with which the draft predicted the target's own step, or 0.

        After a rejection, the draft can predict the rest of the target's step. It did so if the
        next drafted step began before the target's own was complete, and got a verdict.
        """
        kept = self._kept(rejected.position)
        if kept is None or rejected.fate != "rejected":
            return 0
        after = self._spans.get(("draft", rejected.position + 1), [])
        if not any(rejected.end <= s.start < kept.end and s.fate in DECIDED for s in after):
            return 0
        again = self._spans[("draft", rejected.position)]
        return max((span.tokens for span in again if span.start >= rejected.end), default=0) or 1

    def _losing_tokens(self, position: int) -> int:
        """Return the fewest tokens with which a drafted step completes after the target's own.

        0 if the target's own step was not committed at this position.
        """
        kept = self._kept(position)
        if kept is None:
            return 0
        costs = self._fit.costs
        return costs.ahead + 1 + ceil(self._work(kept) * costs.target / costs.draft)

    def _is_draft_end(self, span: Span, position: int) -> bool:
        """Check whether the draft ended with this step and the target's own was committed."""
        kept = self._kept(position)
        return kept is not None and span.end < kept.end - _END_GAP

    def _kept(self, position: int) -> Span | None:
        spans = self._spans.get(("target", position), [])
        return next((span for span in spans if span.fate == "kept"), None)

    def _written(self, position: int, ideal: bool) -> TargetStep:
        kept = self._kept(position)
        if kept is not None:
            work = self._work(kept)
            return TargetStep(kept.tokens, min(work, kept.tokens) if ideal else work)
        begun = max((s.tokens for s in self._spans.get(("target", position), [])), default=0)
        if position in self._own:
            tokens = self._own[position].tokens
        else:
            tokens = self._rng("target", position).choice(self._fit.own)
        return TargetStep(max(tokens, begun), max(tokens, begun))

    def _work(self, kept: Span) -> float:
        """Return the tokens of a step that the target computed; those known in advance are free."""
        others = [span for span in self._of("target") if span is not kept]
        if overlap(kept, others) > kept.seconds / 2:  # concurrent steps are indistinguishable
            return kept.tokens
        since = read_before(self._sample, kept)
        read = skipped_before(self._sample, kept, self._traits, since)
        seconds = kept.seconds - overlap(kept, self._calls) - self._fit.costs.judge_token * read
        if not self._calls and all(kept.start <= span.start for span in others):
            seconds -= self.prompts.target
        return max(0.0, seconds / self._fit.costs.target)

    def _rng(self, role: str, position: int) -> random.Random:
        sample = self._sample
        return random.Random(f"{sample.task} {sample.index} {role} {position}")
