"""What a draft wrote for one problem, and what the target said to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from dreamr.gate import Verdict
from dreamr.steps import Step, StepSplitter


@dataclass(frozen=True, slots=True)
class Reference:
    """The target's own solution of a problem, greedy.

    steps: of its reasoning, without the final answer. tokens: of all of it, in the target's tokens.
    """

    steps: tuple[Step, ...]
    tokens: int
    right: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """One completion of the draft, cut into steps and graded.

    question: the user's text. steps: of the reasoning, without the final answer. verdicts: one a
    step, each judged after the steps before it. tokens: of the whole completion, in the draft's
    tokens. finished: whether the draft ended it itself, with an answer. right: whether the task
    says that the answer is right. reference: None where nothing needs it.
    """

    question: str
    steps: tuple[Step, ...]
    verdicts: tuple[Verdict, ...]
    tokens: int
    finished: bool
    right: bool
    reference: Reference | None = None


Group: TypeAlias = Sequence[Rollout]  # of one problem, from one prompt


def reasoning(steps: Sequence[Step], *, marked: bool) -> tuple[Step, ...]:
    """The steps without the final answer; where answers are not marked, that is the last step."""
    if marked:
        return tuple(step for step in steps if not step.is_answer)
    return tuple(steps[:-1])


def cut(
    tokens: Sequence[int], texts: Any, splitter: StepSplitter, *, truncated: bool
) -> list[Step]:
    """The steps of a completion given by its tokens, with the tokens of each counted exactly.

    Args:
        tokens: without what ends the turn.
        texts: the model's `Texts`, which spell one token after the other.
        splitter: a fresh one.
        truncated: whether a limit ended the completion and not the model.
    """
    spell = texts.start([])
    steps = [step for token in tokens for step in splitter.push(spell.push(token), 1)]
    last = splitter.finish(truncated=truncated)
    return [*steps, last] if last is not None else steps


def figures(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """What a batch looks like: shares and means over its rollouts.

    acceptance: of all steps, by the verdicts alone. accepted_tokens: the same weighted by tokens.
    clean: of the rollouts, those with no rejected step. tokens, steps: of a rollout. longest: in
    tokens, its longest step. right, finished: of the rollouts.
    """
    steps = [
        (step, verdict)
        for one in rollouts
        for step, verdict in zip(one.steps, one.verdicts, strict=True)
    ]
    tokens = sum(step.tokens for step, _ in steps)
    taken = sum(step.tokens for step, verdict in steps if verdict.accepted)
    return {
        "acceptance": fmean([verdict.accepted for _, verdict in steps] or [0.0]),
        "accepted_tokens": taken / max(1, tokens),
        "clean": fmean(all(verdict.accepted for verdict in one.verdicts) for one in rollouts),
        "tokens": fmean(one.tokens for one in rollouts),
        "steps": fmean(len(one.steps) for one in rollouts),
        "longest": fmean(max((s.tokens for s in one.steps), default=0) for one in rollouts),
        "right": fmean(one.right for one in rollouts),
        "finished": fmean(one.finished for one in rollouts),
    }
