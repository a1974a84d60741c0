"""Steps that a draft really wrote, what the target thinks of each, and whether it was right."""

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
    """A drafted step behind right ones. evidence: with everything asked."""

    task: str
    evidence: Evidence
    situation: StepContext
    right: bool

    def accepted_by(self, gate: Gate) -> bool:
        """Whether a gate would accept it."""
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
    """The steps of what the draft writes for each problem, greedily, up to its first wrong one.

    The final answer is none of them: the target writes it. Steps behind a wrong one are left out,
    since whether these are right cannot be said.

    Raises:
        Unsupported: a task whose checker does not tell about steps, or a target that cannot judge.
        EngineError: an engine failed.
    """
    if not target.engine.capabilities.judge:
        raise Unsupported(f"{target.engine.name} cannot judge, so there is nothing to calibrate")
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
                f"task {item.task} knows answers and not whether a step is right: "
                "calibrate on one that does"
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
