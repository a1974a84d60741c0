"""Recorded runs once more, in virtual time."""

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
    Manner,
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

# Two local workers: one thing at a time, judging first. Four streams side by side take 2.6 times as
# long as one (benchmarks/results/worker-concurrency.json).
WORKER = Devices(serialize=True, slowdown=0.55)
_STILL_WRITING = 1e-3  # seconds: a draft that is closed later than it fell silent was writing


@dataclass(frozen=True, slots=True)
class Prediction:
    """What virtual time makes of recorded runs, beside what was measured.

    seconds: predicted for the method, summed over all problems. ideal_seconds: the same with the
    engines' own work alone: no messages, no opening of lanes, nothing before or after a run, no
    question that took longer to read than is usual.
    measured: of the method. target: measured of the target alone. costs: as they were fitted.
    """

    problems: int
    seconds: float
    ideal_seconds: float
    measured: float
    target: float
    costs: Costs

    @property
    def speedup(self) -> float:
        """Predicted, over the target's measured seconds."""
        return self.target / self.seconds

    @property
    def ideal_speedup(self) -> float:
        return self.target / self.ideal_seconds

    @property
    def measured_speedup(self) -> float:
        return self.target / self.measured

    @property
    def error(self) -> float:
        """How far the predicted speed-up is off, as a share of the measured one."""
        return self.speedup / self.measured_speedup - 1

    @property
    def efficiency(self) -> float:
        """Measured over ideal speed-up."""
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
    """Run a schedule over what was recorded of it.

    target, samples: of the target alone and of one method, of the same problems. Problems that only
    one of them has, and runs that failed, are left out. method, options: the schedule, by its name,
    and as it was set. fitted: the costs, where they are not to be read from these samples.

    What was committed is committed again. Where virtual time needs a step that was not recorded,
    such as the target's own where it was cancelled, it is the target's at that position of its own
    run, else one of the observed lengths, the same one at each replay.

    Raises:
        BadScenario: no problem that both have.
    """
    both = _paired(target, samples)
    options = options or ScheduleConfig()
    manner = Manner.of(method, options)
    if fitted is None:
        fitted = fit([own for own, _ in both], [sample for _, sample in both], manner)
    runs = [_Recorded(sample, own, fitted, manner) for own, sample in both]
    usual = _Prompts(
        median(run.prompts.draft for run in runs), median(run.prompts.target for run in runs)
    )

    def total(costs: Costs, most: _Prompts | None) -> float:
        return sum(
            run_scripts(
                [run.script(most is not None)],
                method,
                options,
                run.with_prompts(costs, most),
                devices,
            ).seconds
            for run in runs
        )

    return Prediction(
        len(both),
        total(fitted.costs, None) + len(both) * fitted.run,
        total(fitted.costs.ideal, usual),
        sum(sample.seconds for _, sample in both),
        sum(own.seconds for own, _ in both),
        fitted.costs,
    )


def _paired(target: Sequence[Sample], samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    def problem(sample: Sample) -> tuple[str, int, int]:
        return (sample.task, sample.index, sample.concurrency)

    alone: Mapping[tuple[str, int, int], Sample] = {problem(own): own for own in target}
    both = [
        (alone[problem(sample)], sample)
        for sample in samples
        if problem(sample) in alone and sample.finish != "failed" and sample.steps
    ]
    if not both:
        raise BadScenario("no problem was solved both with 'target' and with the other method")
    return both


class _Prompts(NamedTuple):
    """Seconds in which either model read the question."""

    draft: float
    target: float


class _Recorded:
    """One run, position by position."""

    def __init__(self, sample: Sample, alone: Sample, fitted: Fit, manner: Manner) -> None:
        self._sample, self._alone, self._fit, self._manner = sample, alone, fitted, manner
        self._calls = judge_spans(sample)
        self._own = {s.position: s for s in alone.spans if s.lane == "target" and s.fate == "kept"}
        self._spans: dict[tuple[str, int], list[Span]] = {}
        for span in sorted(sample.spans, key=lambda span: span.start):
            self._spans.setdefault((span.lane, span.position), []).append(span)
        self.prompts = _Prompts(self._prompt_draft(), self._prompt_target())

    def with_prompts(self, costs: Costs, most: _Prompts | None) -> Costs:
        """The costs with how long this run's question took to read, `most` at most."""
        draft, target = self.prompts
        if most is not None:
            draft, target = min(draft, most.draft), min(target, most.target)
        return replace(costs, prompt_draft=draft, prompt_target=target)

    def script(self, ideal: bool) -> Script:
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
        """What the first complete piece of work took beyond the work itself."""
        sample, costs, manner = self._sample, self._fit.costs, self._manner
        if opened := opening(sample, costs.target, manner):
            return max(0.0, opened.seconds - costs.judging(opened.steps, opened.tokens))
        first = min(self._of("target"), key=lambda span: span.start, default=None)
        if first is None:  # nothing was heard of it
            return prompt_of(self._alone, costs.target)
        seconds = prompt_of(sample, costs.target) + (first.start if manner.eager else 0.0)
        return max(0.0, seconds - costs.judge_token * skipped_before(sample, first, manner))

    def _of(self, lane: str) -> list[Span]:
        return [span for span in self._sample.spans if span.lane == lane]

    def _drafted(self, position: int) -> DraftedStep:
        spans = self._spans.get(("draft", position), [])
        decided = [span for span in spans if span.fate in DECIDED]
        if decided:
            first, alike = decided[0], self._manner.alike
            if first.fate == "rejected":
                # What was accepted then was another try; they are asked about one by one.
                tries = [s.fate for s in sorted(decided[1:], key=lambda span: span.end)]
                again = 1 + tries.index("accepted") if "accepted" in tries else 0
                return DraftedStep(
                    first.tokens, False, completes=self._completed(first), resample=again
                )
            unasked = first.ratio is None
            return DraftedStep(
                first.tokens,
                True,
                same=unasked and alike,
                skipped_verification=unasked and not alike,
            )
        if spans and self._fell_silent(spans[-1], position):
            return DraftedStep(spans[-1].tokens, accepted=False, draft_end=True)
        rng = self._rng("draft", position)
        least = spans[-1].tokens if spans else 0
        tokens = max(least, rng.choice(self._fit.drafted), self._outrun(position))
        return DraftedStep(tokens, rng.random() < self._fit.acceptance)

    def _completed(self, rejected: Span) -> int:
        """Tokens of the target's own step that the draft foresaw after the rejection; else 0.

        It did if the next drafted step was begun before the target's own was there, and decided on.
        """
        kept = self._kept(rejected.position)
        if kept is None or rejected.fate != "rejected":
            return 0
        after = self._spans.get(("draft", rejected.position + 1), [])
        if not any(rejected.end <= s.start < kept.end and s.fate in DECIDED for s in after):
            return 0
        again = self._spans[("draft", rejected.position)]
        return max((span.tokens for span in again if span.start >= rejected.end), default=0) or 1

    def _outrun(self, position: int) -> int:
        """How long a drafted step must be for the target's own to come first, where it did."""
        kept = self._kept(position)
        if kept is None:
            return 0
        costs = self._fit.costs
        return costs.ahead + 1 + ceil(self._work(kept) * costs.target / costs.draft)

    def _fell_silent(self, span: Span, position: int) -> bool:
        """Whether the draft's text ended here, which the target had to better: a claim."""
        kept = self._kept(position)
        return kept is not None and span.end < kept.end - _STILL_WRITING

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
        """For how many tokens of a step the target computed: those that it foresaw are free."""
        others = [span for span in self._of("target") if span is not kept]
        if overlap(kept, others) > kept.seconds / 2:  # written by turns: no telling
            return kept.tokens
        since = read_before(self._sample, kept)
        read = skipped_before(self._sample, kept, self._manner, since)
        seconds = kept.seconds - overlap(kept, self._calls) - self._fit.costs.judge_token * read
        if not self._calls and all(kept.start <= span.start for span in others):
            seconds -= self.prompts.target
        return max(0.0, seconds / self._fit.costs.target)

    def _rng(self, role: str, position: int) -> random.Random:
        sample = self._sample
        return random.Random(f"{sample.task} {sample.index} {role} {position}")
