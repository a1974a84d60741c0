"""Grade batches of completions: the target judges every step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dreamr._concurrency import gather_bounded
from dreamr.conversation import flatten
from dreamr.engines import Context, Engine, SamplingParams
from dreamr.errors import ContextTooLong, EngineError, Unsupported
from dreamr.evaluation.tasks import Item
from dreamr.gate import Evidence, Gate, RatioGate, StepContext, Verdict, with_min_mass
from dreamr.steps import Step, StepFormat, StepSplitter
from dreamr.training.rollout import Reference, Rollout, reasoning

_CONCURRENCY = 16  # concurrent calls per engine
_NONE = Evidence(0.0, 0.0)

Given = TypeVar("Given")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Completion:
    """A solution by a model, split into steps.

    Attributes:
        item: Problem that was solved.
        steps: All steps, including the final answer.
        tokens: Length, in tokens of the model.
        finished: Whether the model ended the solution itself rather than at a limit.
    """

    item: Item
    steps: tuple[Step, ...]
    tokens: int
    finished: bool

    @property
    def text(self) -> str:
        """Whole text."""
        return "".join(step.text for step in self.steps)


@dataclass
class Grader:
    """Grader that judges completions with one or more engines of the same target.

    Attributes:
        targets: Engines of the target, at least one. Problems are distributed over them.
        gate: Gate that decides; must judge each step separately.
        step_format: Step delimiter and answer marker.
        most_tokens: Maximum tokens of the target's own solutions.
        references: Whether to attach the target's own solution to each rollout. The target solves
            each problem once.
        count: Counts the tokens of a text as the draft's tokenizer does. Lengths of the target's
            own solutions are then comparable with those of completions, also if the models have
            different tokenizers. By default, the target's tokens are counted.

    Raises:
        Unsupported: If a target cannot judge.
    """

    targets: Sequence[Engine]
    gate: Gate = field(default_factory=RatioGate)
    step_format: StepFormat = field(default_factory=StepFormat)
    most_tokens: int = 1024
    references: bool = True
    count: Callable[[str], int] | None = None

    def __post_init__(self) -> None:
        for engine in self.targets:
            if not engine.capabilities.judge:
                raise Unsupported(
                    f"{engine.name} returns no log-probabilities, so it cannot grade: use another "
                    "target"
                )
        # As runs have it: a server that hardly answers the question accepts nothing.
        floor = self.targets[0].capabilities.min_label_mass
        self.gate = with_min_mass(self.gate, floor)
        self._known: dict[tuple[str, int], Reference] = {}

    async def grade(self, completions: Sequence[Completion]) -> list[Rollout]:
        """Grade completions.

        Returns:
            One rollout per completion, in the same order.

        Raises:
            EngineError: If a target fails or returns the wrong number of results.
        """
        if self.references:
            unknown = {
                _key(one.item): one.item for one in completions if _key(one.item) not in self._known
            }
            written = await self._at_engines(list(unknown.values()), lambda x: x, self._solve)
            self._known.update(zip(unknown, written, strict=True))
        rollouts = await self._at_engines(completions, lambda one: one.item, self._grade)
        for one in completions:
            self._engine(one.item).forget(flatten(one.item.conversation))
        return rollouts

    def _engine(self, item: Item) -> Engine:
        return self.targets[item.index % len(self.targets)]

    async def _at_engines(
        self,
        given: Sequence[Given],
        item_of: Callable[[Given], Item],
        work: Callable[[Engine, Given], Awaitable[Found]],
    ) -> list[Found]:
        """Process each input on the engine of its problem; the first failure cancels the rest."""
        found: dict[int, Found] = {}

        async def at(engine: Engine) -> None:
            async def one(place: int) -> None:
                found[place] = await work(engine, given[place])

            its = (i for i, each in enumerate(given) if self._engine(item_of(each)) is engine)
            await gather_bounded(its, one, _CONCURRENCY)

        await gather_bounded(self.targets, at, len(self.targets))
        return [found[place] for place in range(len(given))]

    async def _grade(self, engine: Engine, one: Completion) -> Rollout:
        marked = self.step_format.answer_marker is not None
        steps = reasoning(one.steps, marked=marked)
        answered = len(steps) < len(one.steps)
        return Rollout(
            item=one.item,
            steps=steps,
            verdicts=await self._judge(engine, one.item, steps),
            tokens=one.tokens,
            finished=one.finished and answered,
            right=one.finished and answered and one.item.right(one.text),
            reference=self._known.get(_key(one.item)),
        )

    async def _judge(
        self, engine: Engine, item: Item, steps: Sequence[Step]
    ) -> tuple[Verdict, ...]:
        if not steps:
            return ()
        found = await self._evidence(engine, item, [step.text for step in steps])
        return tuple(
            self.gate.decide(evidence, StepContext(step, place))
            for place, (evidence, step) in enumerate(zip(found, steps, strict=True))
        )

    async def _evidence(
        self, engine: Engine, item: Item, texts: Sequence[str]
    ) -> tuple[Evidence, ...]:
        """Judge steps; those that exceed the target's context get evidence that rejects them."""
        pending, context = list(texts), Context(flatten(item.conversation))
        while pending:
            try:
                found = await engine.judge(context, pending, self.gate.query)
            except ContextTooLong:
                del pending[len(pending) // 2 :]
                continue
            if len(found) != len(pending):
                raise EngineError(
                    f"{engine.name} returned {len(found)} results for {len(pending)} steps"
                )
            return found + (_NONE,) * (len(texts) - len(found))
        return (_NONE,) * len(texts)

    async def _solve(self, engine: Engine, item: Item) -> Reference:
        """Solve a problem; one that exceeds the target's context has a reference without steps."""
        sampling = SamplingParams(max_tokens=self.most_tokens)
        try:
            one = await write(engine, item, self.step_format, sampling)
        except ContextTooLong:
            return Reference((), 0, right=False)
        marked = self.step_format.answer_marker is not None
        right = one.finished and item.right(one.text)
        steps, tokens = reasoning(one.steps, marked=marked), one.tokens
        if self.count is not None:
            steps = tuple(replace(step, tokens=self.count(step.text)) for step in steps)
            tokens = self.count(one.text) + one.finished  # with the token that ends the turn
        return Reference(steps, tokens, right)


async def write(
    engine: Engine, item: Item, step_format: StepFormat, sampling: SamplingParams
) -> Completion:
    """Let an engine solve a problem alone.

    Args:
        engine: Engine that writes.
        item: Problem to solve.
        step_format: Step delimiter and answer marker.
        sampling: Sampling parameters, including the maximum number of tokens.

    Raises:
        ContextTooLong: If the problem does not fit into the model's context.
        EngineError: If the engine fails.
    """
    splitter = StepSplitter(step_format)
    steps: list[Step] = []
    tokens, finish = 0, None
    async for chunk in engine.stream(Context(flatten(item.conversation)), sampling):
        steps += splitter.push(chunk.text, chunk.tokens)
        tokens += chunk.tokens
        finish = chunk.finish
    if (last := splitter.finish(truncated=finish == "length")) is not None:
        steps.append(last)
    return Completion(item, tuple(steps), tokens, finish == "stop")


def _key(item: Item) -> tuple[str, int]:
    return item.task, item.index
