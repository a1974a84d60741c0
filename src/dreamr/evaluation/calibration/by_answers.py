"""Calibration by answers: compare final answers under each gate with those of the target alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dreamr._concurrency import gather_bounded
from dreamr._options import RunOptions
from dreamr.engines import Model
from dreamr.errors import RunFailed
from dreamr.evaluation.calibration.bounds import last_permitted
from dreamr.evaluation.calibration.families import Calibrated, Candidate
from dreamr.evaluation.tasks import Item, by_unit
from dreamr.gate import Gate, Reference
from dreamr.runner import RunConfig, run
from dreamr.schedules import DRAFT_FULL
from dreamr.trace import LaneClosed, LaneOpened, Note, Result, StepCommitted, StepRejected

_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class _Solved:
    """The relevant parts of a run.

    Attributes:
        answer: The final answer.
        accepted: Tokens of each step that the gate accepted.
        rejected: Tokens of each step that the gate rejected.
    """

    answer: str
    accepted: tuple[int, ...]
    rejected: tuple[int, ...]


async def calibrate_answers(
    target: Model,
    draft: Model,
    items: Sequence[Item],
    gates: Sequence[Gate],
    options: RunOptions,
    risk: float,
    confidence: float,
    *,
    reference: Reference = "labels",
    on_done: Callable[[int], None] = lambda count: None,
) -> Calibrated:
    """Find the most permissive gate whose rate of wrong answers stays below the bound.

    An answer counts as wrong if the target alone would not have given it and the label says it is
    wrong. Without labels, each answer that the target alone would not have given is wrong. Items
    that form one problem (`Item.unit`) are wrong if one of them is.

    The target alone answers each problem once. The gates are then run on all problems in order
    until one fails. Fixed-sequence testing (`last_permitted`) does not need the gates after it.

    Args:
        target: The target, opened.
        draft: The draft, opened.
        items: The problems.
        gates: Gates from the strictest to the most permissive, chosen before any data are seen.
        options: Options of the runs, which must be greedy. Their gate is not used.
        risk: Bound on wrong answers per problem, in (0, 1).
        confidence: Probability with which the bound must hold for other problems from the same
            distribution, in (0, 1).
        reference: What decides whether an answer is wrong, "labels" or "target".
        on_done: Called with the number of completed runs, including those of the target alone.

    Raises:
        RunFailed: If an engine is lost.
        ValueError: If risk or confidence is outside (0, 1).
    """
    solver = _Solver(target, draft, items, on_done)
    own = await solver.solve_all(replace(options, method="target"), gates[0])
    candidates: list[Candidate] = []
    errors: list[int] = []
    chosen = None
    for place, gate in enumerate(gates):
        found = await solver.solve_all(options, gate)
        kept = by_unit(
            (item, not _wrong(item, one.answer, other.answer, reference))
            for item, one, other in zip(items, found, own, strict=True)
        )
        errors.append(sum(not good for good in kept.values()))
        last, tested = last_permitted(errors, len(kept), risk, confidence)
        candidates.append(Candidate(gate, tested[place], *_accepted(found)))
        if last != place:
            break
        chosen = candidates[place]
    return Calibrated(tuple(candidates), chosen)


class _Solver:
    """Runs both models on all problems and counts the runs over all gates."""

    def __init__(
        self, target: Model, draft: Model, items: Sequence[Item], on_done: Callable[[int], None]
    ) -> None:
        self._target, self._draft, self._items, self._on_done = target, draft, items, on_done
        self._done = 0

    async def solve_all(self, options: RunOptions, gate: Gate) -> list[_Solved]:
        """Run all problems with a gate and return the results in their order."""
        step_format = self._target.step_format
        config = replace(options.run_config(), step_format=step_format, gate=gate, calibrated=True)

        async def solve(item: Item) -> _Solved:
            return await self._solve(item, config)

        return await gather_bounded(self._items, solve, _CONCURRENCY)

    async def _solve(self, item: Item, config: RunConfig) -> _Solved:
        target, draft = self._target.engine, self._draft.engine
        result = await run(item.conversation, target=target, draft=draft, config=config)
        _check_models(result)
        target.forget(config.seen_by("target", item.conversation))
        draft.forget(config.seen_by("draft", item.conversation))
        self._done += 1
        self._on_done(self._done)
        return _solved(result)


def _check_models(result: Result) -> None:
    """Check that no model failed: without a draft, the answer is the target's own, never wrong.

    A draft whose context is full has not failed.

    Raises:
        RunFailed: If one did.
    """
    notes = [event.message for event in result.events if isinstance(event, Note)]
    roles = {event.lane: event.role for event in result.events if isinstance(event, LaneOpened)}
    for event in result.events:
        if isinstance(event, LaneClosed) and event.reason == "failed":
            role = roles[event.lane]
            if role == "draft" and any(note.startswith(DRAFT_FULL) for note in notes):
                continue
            why = notes[-1] if notes else "see the log of its server"
            raise RunFailed(f"the {role} failed during the calibration: {why}", result)


def _wrong(item: Item, answer: str, own: str, reference: Reference) -> bool:
    if item.read(answer) == item.read(own):
        return False
    return reference == "target" or not item.right(answer)


def _solved(result: Result) -> _Solved:
    accepted, rejected = [], []
    for event in result.events:
        match event:
            case StepCommitted(step=step, verdict=verdict) if verdict is not None:
                accepted.append(step.tokens)
            case StepRejected(step=step):
                rejected.append(step.tokens)
    return _Solved(result.answer, tuple(accepted), tuple(rejected))


def _accepted(solved: Sequence[_Solved]) -> tuple[float, float]:
    """Return the shares of decided steps and of their tokens that were accepted."""
    accepted = [tokens for one in solved for tokens in one.accepted]
    decided = accepted + [tokens for one in solved for tokens in one.rejected]
    return len(accepted) / max(1, len(decided)), sum(accepted) / max(1, sum(decided))
