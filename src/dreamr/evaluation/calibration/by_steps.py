"""Calibration by steps: judge the draft's steps and check whether they are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dreamr._concurrency import gather_bounded
from dreamr.engines import Context, Model, SamplingParams
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks import Item
from dreamr.gate import Evidence, Gate, StepContext
from dreamr.steps import StepSplitter

_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class JudgedStep:
    """A drafted step after right steps only.

    Attributes:
        task: Name of the task.
        evidence: The target's evidence from a judge call that includes the judge prompt.
        situation: The step and its position.
        right: Whether the step is right by the task's checker.
    """

    task: str
    evidence: Evidence
    situation: StepContext
    right: bool

    def accepted_by(self, gate: Gate) -> bool:
        """Check whether a gate would accept the step."""
        verdict = gate.decide_without_target(self.situation) or gate.decide(
            self.evidence, self.situation
        )
        return verdict.accepted


async def judged_steps(
    target: Model,
    draft: Model,
    items: Sequence[Item],
    *,
    most_tokens: int,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[JudgedStep]:
    """Return the draft's greedy steps for each problem, up to and including the first wrong one.

    Final answers are left out, because the target writes them. Steps after a wrong one are left
    out, because whether they are right is undefined.

    Args:
        target: The target, opened.
        draft: The draft, opened.
        items: The problems.
        most_tokens: Limit on the draft's tokens per problem.
        on_done: Called with the number of completed problems.

    Raises:
        Unsupported: If a task cannot check steps or the target cannot judge.
        EngineError: If an engine fails.
    """
    if not target.engine.capabilities.judge:
        raise Unsupported(f"{target.engine.name} cannot judge: choose another target")
    done = 0

    async def one(item: Item) -> list[JudgedStep]:
        nonlocal done
        found = await _judged(target, draft, item, most_tokens)
        done += 1
        on_done(done)
        return found

    return [step for steps in await gather_bounded(items, one, _CONCURRENCY) for step in steps]


async def _judged(target: Model, draft: Model, item: Item, most_tokens: int) -> list[JudgedStep]:
    splitter = StepSplitter(target.step_format)
    steps = []
    sampling = SamplingParams(most_tokens, logprobs=draft.engine.capabilities.logprobs)
    async for chunk in draft.engine.stream(Context(item.conversation), sampling):
        steps += splitter.push(chunk.text, chunk.tokens, chunk.logprob, chunk.min_logprob)
    reasoning = []
    for position, step in enumerate(steps):
        right = item.check(position, step.text)
        if right is None:
            raise Unsupported(
                f"the task {item.task} checks answers but not steps: use --by answers or "
                "another task"
            )
        reasoning.append((step, right))
        if not right:
            break
    if not reasoning:
        return []
    evidence = await target.engine.judge(
        Context(item.conversation), [step.text for step, _ in reasoning]
    )
    for model in (target, draft):
        model.engine.forget(item.conversation)
    return [
        JudgedStep(item.task, each, StepContext(step, position), right)
        for position, (each, (step, right)) in enumerate(zip(evidence, reasoning, strict=True))
    ]
