"""Audits: accepted steps are compared with the steps that the target writes itself."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Literal, TypeAlias, get_args

import anyio

from dreamr.engines import Context, Engine, SamplingParams
from dreamr.gate import Gate, SameGate, StepContext, at_strictness, strictness
from dreamr.runner import RunConfig, RunScope
from dreamr.serving.drift.controller import Controller
from dreamr.serving.drift.detector import Detector
from dreamr.steps import Step, StepFormat, StepSplitter
from dreamr.trace import Result

LOG = logging.getLogger("dreamr.serving.drift")

Outcome: TypeAlias = Literal["agreed", "differed", "failed", "dropped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_MAX_AUDITED = 2  # runs that are audited concurrently; the steps of further runs are dropped
_SECONDS = 60.0  # time limit of an audit
_SAME = SameGate()


class Watch:
    """Run hook that audits a sample of the accepted steps in the background.

    After a run, the target writes its own step after the same prefix. If that text differs from
    the accepted step, the target judges whether both steps mean the same; if not, it disagrees. A
    `Detector` raises an alarm when disagreements are too frequent, and a `Controller` sets the
    threshold of the next runs.

    Steps are drawn at random from a seed, so that audits cover every position of an answer. Audits
    delay no answer. They are dropped while the target is busy or other audits are running.

    Args:
        gate: Gate of the runs to watch; runs with another gate are left alone. If the gate has a
            `strictness`, audits adjust it.
        every: One of this many accepted steps is audited, on average.
        risk: Largest share of audited steps with which the target may disagree, in (0, 1).
        lower: Whether the threshold may fall below the gate's own. It then accepts wrong steps
            that the gate would have rejected.
        busy: Returns whether the target is too busy for an audit now.
        seed: Seed of the random choice of steps.

    Attributes:
        counts: Audits by outcome: "agreed", "differed", "failed" (an engine error or a timeout)
            or "dropped".
    """

    def __init__(
        self,
        gate: Gate,
        *,
        every: int,
        risk: float = 0.02,
        lower: bool = False,
        busy: Callable[[], bool] = lambda: False,
        seed: int = 0,
    ) -> None:
        self._gate, self._every, self._busy = gate, every, busy
        self._rng = Random(seed)
        self._detector = Detector(risk)
        self._controller: Controller | None = None
        if (threshold := strictness(gate)) is not None:
            self._controller = Controller(threshold, risk, lower=lower)
        self._active = 0
        self._watched: set[RunScope] = set()
        self._ended = anyio.Event()
        self.counts: Counter[Outcome] = Counter()

    @property
    def gate(self) -> Gate:
        """Gate for the next run."""
        if self._controller is None:
            return self._gate
        return at_strictness(self._gate, self._controller.threshold)

    @property
    def threshold(self) -> float | None:
        """Threshold of the next run's gate; None if the gate has none."""
        return None if self._controller is None else self._controller.threshold

    @property
    def alarm(self) -> bool:
        """Whether the target disagrees more often than `risk` allows."""
        return self._detector.alarm

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """Set the threshold of a run that uses the watched gate."""
        if config.gate != self._gate:
            return config
        self._watched.add(run)
        return replace(config, gate=self.gate)

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """Audit some steps of a finished run in a background task."""
        watched = run in self._watched
        self._watched.discard(run)
        if result is None or run.target is None or not watched:
            return
        picked = [
            position
            for position, step in enumerate(result.steps)
            if step.source == "draft" and step.verdict is not None and self._draw()
        ]
        if picked and self._active >= _MAX_AUDITED:
            self.counts["dropped"] += len(picked)
        elif picked:
            self._active += 1
            steps = [step.step for step in result.steps]
            run.background.start_soon(self._audit_all, run, run.target, steps, picked)

    @property
    def idle(self) -> bool:
        """Whether no audit is running."""
        return not self._active

    async def settled(self) -> None:
        """Wait until no audit is running."""
        while not self.idle:
            await self._ended.wait()

    def _draw(self) -> bool:
        return self._rng.random() * self._every < 1

    async def _audit_all(
        self, run: RunScope, target: Engine, steps: Sequence[Step], picked: Sequence[int]
    ) -> None:
        try:
            for position in picked:
                context = Context(run.conversation, tuple(step.text for step in steps[:position]))
                outcome = await self._audit(target, run.step_format, context, steps[position])
                self._learn(outcome)
        finally:
            self._active -= 1
            self._ended.set()
            self._ended = anyio.Event()

    async def _audit(
        self, target: Engine, step_format: StepFormat, context: Context, step: Step
    ) -> Outcome:
        if self._busy():
            return "dropped"
        try:
            with anyio.fail_after(_SECONDS):
                agrees = await _agrees(target, step_format, context, step)
        except Exception as error:  # a bug in an engine must not end other runs
            LOG.warning("an audit failed: %r", error)
            return "failed"
        return "agreed" if agrees else "differed"

    def _learn(self, outcome: Outcome) -> None:
        self.counts[outcome] += 1
        if outcome not in ("agreed", "differed"):
            return
        before, disagrees = self.alarm, outcome == "differed"
        self._detector.learn(disagrees)
        if self._controller is not None:
            self._controller.learn(disagrees)
        if self.alarm and not before:
            LOG.warning(
                "drift alarm: the target disagrees with more accepted steps than allowed (%d of "
                "%d audited so far); run dreamr calibrate on problems of the current kind",
                self.counts["differed"],
                self.counts["differed"] + self.counts["agreed"],
            )


async def _agrees(target: Engine, step_format: StepFormat, context: Context, step: Step) -> bool:
    """Return whether the target's own greedy step means the same as an accepted step."""
    own = await _next_step(target, step_format, context)
    if own is None or own.plain == step.plain:
        return own is not None
    query = replace(_SAME.query, others=(own.text,))
    (evidence,) = await target.judge(context, [step.text], query)
    return _SAME.decide(evidence, StepContext(step, len(context.prefix))).accepted


async def _next_step(target: Engine, step_format: StepFormat, context: Context) -> Step | None:
    """Return the target's next step; None if the target ends its text here."""
    splitter = StepSplitter(step_format, prefix="".join(context.prefix))
    sampling = SamplingParams(max(step_format.max_tokens, step_format.max_answer_tokens))
    async with aclosing(target.stream(context, sampling)) as chunks:
        async for chunk in chunks:
            if steps := splitter.push(chunk.text, chunk.tokens):
                return steps[0]
    return splitter.finish()
