"""Audits: some of the accepted steps, beside what the target writes in their place."""

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

_AT_ONCE = 2  # runs whose steps are audited side by side; others are not audited
_SECONDS = 60.0  # of an audit
_SAME = SameGate()


class Watch:
    """Audits one accepted step in so many, in the background, and draws the conclusions.

    After a run, the target writes its own step behind the same text. Where that is another text, it
    is asked whether the two mean the same; if not, it disagrees. A `Detector` raises an alarm where
    that happens too often, and a `Controller` sets the threshold of the next runs. Steps are drawn
    at random, so that no place in an answer goes unseen, and by a seed. Nobody waits for an audit,
    and where there is no time for one it is dropped.

    counts: audits by their outcome. 'failed': an engine did, or took too long.
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
        """Nothing was audited yet.

        Args:
            gate: whose runs are watched. Its `strictness` is set, if it has any.
            every: of so many accepted steps one is audited, on average.
            risk: bound on the share of audited steps with which the target disagrees.
            lower: whether the threshold may become lower than the gate's own, and wrong steps pass
                that did not.
            busy: whether the target has better things to do at the moment.
            seed: of the draws.
        """
        self._gate, self._every, self._busy = gate, every, busy
        self._rng = Random(seed)
        self._detector = Detector(risk)
        self._controller: Controller | None = None
        if (threshold := strictness(gate)) is not None:
            self._controller = Controller(threshold, risk, lower=lower)
        self._under_way = 0
        self._watched: set[RunScope] = set()
        self._ended = anyio.Event()
        self.counts: Counter[Outcome] = Counter()

    @property
    def gate(self) -> Gate:
        """The gate for the next run."""
        if self._controller is None:
            return self._gate
        return at_strictness(self._gate, self._controller.threshold)

    @property
    def threshold(self) -> float | None:
        """How strict the gate of the next run is; None where it has no such number."""
        return None if self._controller is None else self._controller.threshold

    @property
    def alarm(self) -> bool:
        """Whether the target disagrees more often than it may."""
        return self._detector.alarm

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """As a hook of a Reasoner: set the threshold, if this is the gate that is watched."""
        if config.gate != self._gate:
            return config
        self._watched.add(run)
        return replace(config, gate=self.gate)

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """As a hook of a Reasoner: audit some steps of a finished run in a task of its own."""
        watched = run in self._watched
        self._watched.discard(run)
        if result is None or run.target is None or not watched:
            return
        picked = [
            position
            for position, step in enumerate(result.steps)
            if step.source == "draft" and step.verdict is not None and self._draw()
        ]
        if picked and self._under_way >= _AT_ONCE:
            self.counts["dropped"] += len(picked)
        elif picked:
            self._under_way += 1
            steps = [step.step for step in result.steps]
            run.background.start_soon(self._audit_all, run, run.target, steps, picked)

    @property
    def idle(self) -> bool:
        """Whether no audit is under way."""
        return not self._under_way

    async def settled(self) -> None:
        """Wait until no audit is under way."""
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
            self._under_way -= 1
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
        except Exception as error:  # a defect of an engine must not take runs down with it
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
                "drift: the target disagrees with accepted steps more often than it may; "
                "%d of %d audited so far; run dreamr calibrate on the new kind of questions",
                self.counts["differed"],
                self.counts["differed"] + self.counts["agreed"],
            )


async def _agrees(target: Engine, step_format: StepFormat, context: Context, step: Step) -> bool:
    """Whether the target, greedily, would go on with a step that means the same."""
    own = await _next_step(target, step_format, context)
    if own is None or own.plain == step.plain:
        return own is not None
    query = replace(_SAME.query, others=(own.text,))
    (evidence,) = await target.judge(context, [step.text], query)
    return _SAME.decide(evidence, StepContext(step, len(context.prefix))).accepted


async def _next_step(target: Engine, step_format: StepFormat, context: Context) -> Step | None:
    """What the target writes next; None where it would write no more."""
    splitter = StepSplitter(step_format)
    sampling = SamplingParams(max(step_format.max_tokens, step_format.max_answer_tokens))
    async with aclosing(target.stream(context, sampling)) as chunks:
        async for chunk in chunks:
            if steps := splitter.push(chunk.text, chunk.tokens):
                return steps[0]
    return splitter.finish()
