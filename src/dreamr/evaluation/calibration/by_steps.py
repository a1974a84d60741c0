"""Calibration by steps: judge the draft's steps and check whether they are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dreamr._concurrency import gather_bounded
from dreamr.conversation import flatten
from dreamr.engines import Context, Engine, Model, SamplingParams
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks import Item
from dreamr.gate import Evidence, Gate, Query, RatioGate, StepContext
from dreamr.runner import RunConfig, check_engines
from dreamr.steps import Step, StepFormat, StepSplitter

_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class JudgedStep:
    """A drafted step after right steps only.

    Attributes:
        task: Name of the task.
        evidence: The target's evidence.
        situation: The step, its position and further evidence that the gate asks for.
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
    gate: Gate | None = None,
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
        gate: Gate that says what the models are asked; the ratio gate if None. The judge prompt is
            asked about every step.
        on_done: Called with the number of completed problems.

    Raises:
        Unsupported: If a task cannot check steps or a model does not report what the gate needs.
        EngineError: If an engine fails.
    """
    gate = gate or RatioGate()
    check_engines(RunConfig(gate=gate), {"target": target.engine, "draft": draft.engine})
    done = 0

    async def one(item: Item) -> list[JudgedStep]:
        nonlocal done
        found = await _judged(target, draft, item, most_tokens, gate)
        done += 1
        on_done(done)
        return found

    return [step for steps in await gather_bounded(items, one, _CONCURRENCY) for step in steps]


async def _judged(
    target: Model, draft: Model, item: Item, most_tokens: int, gate: Gate
) -> list[JudgedStep]:
    reasoning = await _checked(draft, target.step_format, item, most_tokens, gate)
    if not reasoning:
        return []
    seen = flatten(item.conversation)
    context, texts = Context(seen), [step.text for step, _ in reasoning]

    async def asked(engine: Engine, query: Query | None) -> tuple[Evidence, ...]:
        if query is None or not query.needs:
            return (Evidence(0.0, 0.0),) * len(texts)
        return await engine.judge(context, texts, replace(query, target_confidence=None))

    evidence = await asked(target.engine, gate.query)
    further = [await asked(target.engine, query) for query in gate.further_queries]
    own = await asked(draft.engine, gate.draft_query)
    for model in (target, draft):
        model.engine.forget(seen)
    return [
        JudgedStep(
            item.task,
            evidence[position],
            StepContext(
                step,
                position,
                draft_evidence=own[position] if gate.draft_query is not None else None,
                further=tuple(one[position] for one in further),
            ),
            right,
        )
        for position, (step, right) in enumerate(reasoning)
    ]


async def _checked(
    draft: Model, step_format: StepFormat, item: Item, most_tokens: int, gate: Gate
) -> list[tuple[Step, bool]]:
    """Return the draft's steps up to and including the first wrong one, each with its check."""
    splitter = StepSplitter(step_format)
    steps = []
    able = draft.engine.capabilities
    entropy = able.entropy and "the draft's entropy" in gate.needs
    sampling = SamplingParams(most_tokens, logprobs=able.logprobs, entropy=entropy)
    async for chunk in draft.engine.stream(Context(flatten(item.conversation)), sampling):
        steps += splitter.push(
            chunk.text, chunk.tokens, chunk.logprob, chunk.min_logprob, chunk.entropy
        )
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
    return reasoning
