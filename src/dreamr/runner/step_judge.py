"""Verdicts on the steps of a judge call, by the queries that a gate asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import anyio

from dreamr._concurrency import gather_bounded
from dreamr.conversation import Conversation
from dreamr.engines import Context, Engine
from dreamr.errors import EngineError
from dreamr.gate import Evidence, Gate, Query, StepContext, Verdict
from dreamr.runner.lanes import JudgeCall
from dreamr.steps import Role


@dataclass(slots=True)
class StepJudge:
    """Asks the models about drafted steps and lets the gate decide.

    Attributes:
        conversations: The problem as the model of each role gets it.
        engines: Engines by role.
        gate: The gate.
        stall_seconds: Longest time that the draft has to judge its own steps.
        on_draft_failure: Called with the error if the draft fails to. The target then decides on
            all steps, for the rest of the run.
        lead_of: Returns what the prefixes of a role begin with.
    """

    conversations: Mapping[Role, Conversation]
    engines: Mapping[Role, Engine]
    gate: Gate
    stall_seconds: float
    on_draft_failure: Callable[[Exception], None]
    lead_of: Callable[[Role], tuple[str, ...]] = lambda role: ()
    _draft_judges: bool = field(default=True, init=False)

    async def verdicts(self, call: JudgeCall) -> tuple[Verdict, ...]:
        """Return the verdicts on all steps that the call has when the target's engine begins.

        If the gate has a query to the draft, or several to the target, steps that are added to the
        call later are left for the next one.

        Raises:
            EngineError: If the target fails, or returns another number of results than of steps.
        """
        if self.gate.draft_query is None and not self.gate.further_queries:
            least = len(call.steps)
            given = self.lead_of("target") + call.prefix
            context = Context(self.conversations["target"], given)
            found = await self.engines["target"].judge(context, call.candidates, call.query)
            if not least <= len(found) <= len(call.steps):
                raise _miscounted(len(found), least)
            return tuple(
                self.gate.decide(one, context)
                for one, context in zip(found, self._contexts(call), strict=False)
            )
        contexts = self._contexts(call)
        if self.gate.draft_query is not None and self._draft_judges:
            contexts = await self._ask_draft(self.gate.draft_query, call, contexts)
        return tuple(await self._decide(call, contexts))

    async def _ask_draft(
        self, query: Query, call: JudgeCall, contexts: list[StepContext]
    ) -> list[StepContext]:
        """Return the contexts with the draft's own evidence, or unchanged if the draft fails."""
        query = replace(query, unasked=call.query.unasked)
        call.since = None  # the target has not stalled if the draft hangs
        try:
            with anyio.fail_after(self.stall_seconds):
                own = await self._ask("draft", call.prefix, contexts, query)
        except Exception as error:  # a bug in one engine must not end the run of the other
            self._draft_judges = False
            self.on_draft_failure(error)
            return contexts
        finally:
            call.since = time.monotonic()
        return [
            replace(context, draft_evidence=one) for context, one in zip(contexts, own, strict=True)
        ]

    def _contexts(self, call: JudgeCall) -> list[StepContext]:
        first = len(call.prefix)
        return [
            StepContext(step, first + number, call.resamples)
            for number, step in enumerate(call.steps)
        ]

    async def _decide(self, call: JudgeCall, contexts: Sequence[StepContext]) -> list[Verdict]:
        """Let the gate decide; ask the target only about the steps that need it."""
        decided = [self.gate.decide_without_target(context) for context in contexts]
        texts = [context.step.text for context in contexts]
        found: dict[int, Verdict] = {}

        async def ask(places: Sequence[int]) -> None:
            prefix = (*call.prefix, *texts[: places[0]])
            asked = [contexts[place] for place in places]
            asks = call.query
            further = (
                replace(query, unasked=asks.unasked, window=asks.window)
                for query in self.gate.further_queries
            )
            queries = (_part(call.query, places), *further)
            answers = await gather_bounded(
                queries, lambda query: self._ask("target", prefix, asked, query), len(queries)
            )
            for place, context, (first, *more) in zip(
                places, asked, zip(*answers, strict=True), strict=True
            ):
                found[place] = self.gate.decide(first, replace(context, further=tuple(more)))

        runs = groupby(range(len(texts)), lambda place: decided[place] is None)
        undecided = [list(places) for needs_target, places in runs if needs_target]
        if undecided:
            await gather_bounded(undecided, ask, len(undecided))
        return [decision or found[place] for place, decision in enumerate(decided)]

    async def _ask(
        self, role: Role, prefix: tuple[str, ...], contexts: Sequence[StepContext], query: Query
    ) -> tuple[Evidence, ...]:
        texts = [context.step.text for context in contexts]
        context = Context(self.conversations[role], self.lead_of(role) + prefix)
        found = await self.engines[role].judge(context, texts, query)
        if len(found) != len(texts):
            raise _miscounted(len(found), len(texts))
        return found


def _part(query: Query, places: Sequence[int]) -> Query:
    """Return the query about some of its candidates, which are consecutive."""
    return replace(query, others=query.others[places[0] : places[-1] + 1])


def _miscounted(found: int, asked: int) -> EngineError:
    return EngineError(f"the judge call returned {found} results for {asked} steps")
