"""Rollouts: completions of a draft with the target's verdicts on their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from dreamr.conversation import Text
from dreamr.evaluation.tasks import Item, NamedPlace, places_in
from dreamr.gate import Verdict
from dreamr.steps import Step, StepSplitter


@dataclass(frozen=True, slots=True)
class Reference:
    """The target's own greedy solution of a problem.

    Attributes:
        steps: Steps of the reasoning, without the final answer.
        tokens: Length of the whole solution, in the tokens of `Grader.count`.
        right: Whether the task's scorer accepts the answer.
    """

    steps: tuple[Step, ...]
    tokens: int
    right: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """One completion of the draft, split into steps and graded.

    Attributes:
        item: Problem that was solved, with its attachments.
        steps: Steps of the reasoning, without the final answer.
        verdicts: One verdict per step; each step is judged after the steps before it.
        tokens: Length of the whole completion, in tokens of the draft.
        finished: Whether the draft ended the completion itself, with an answer.
        right: Whether the task's scorer accepts the answer.
        reference: The target's own solution, if the grader provides references.
    """

    item: Item
    steps: tuple[Step, ...]
    verdicts: tuple[Verdict, ...]
    tokens: int
    finished: bool
    right: bool
    reference: Reference | None = None

    @property
    def question(self) -> str:
        """Text of the conversation, without that of attachments."""
        parts = (part for turn in self.item.conversation.turns for part in turn.parts)
        return "\n".join(part.text for part in parts if isinstance(part, Text))

    def place_checks(self) -> tuple[Mapping[NamedPlace, bool | None], ...]:
        """Check the pages, images, frames and times that each step names.

        A step is checked against its own places (`Item.step_places`) if the task knows them and the
        target accepts all steps before it, and else against those of the answer.

        Returns:
            One mapping per step; see `NamedPlaces.checks`.
        """
        found, followed = [], True
        for position, (step, verdict) in enumerate(zip(self.steps, self.verdicts, strict=True)):
            own = self.item.step_places(position, step.text) if followed else None
            right = self.item.places if own is None else own
            found.append(places_in(step.text).checks(self.item.conversation, right))
            followed = followed and verdict.accepted
        return tuple(found)


Group: TypeAlias = Sequence[Rollout]  # rollouts of one problem


def reasoning(steps: Sequence[Step], *, marked: bool) -> tuple[Step, ...]:
    """Return the steps without the final answer.

    Args:
        steps: All steps of a completion.
        marked: Whether answers have a marker; if not, the last step is the answer.
    """
    if marked:
        return tuple(step for step in steps if not step.is_answer)
    return tuple(steps[:-1])


def cut(
    tokens: Sequence[int], texts: Any, splitter: StepSplitter, *, truncated: bool
) -> list[Step]:
    """Split a completion into steps with exact token counts.

    Args:
        tokens: Token ids, without the end-of-turn token.
        texts: `Texts` of the model's tokenizer, which detokenize incrementally.
        splitter: Fresh splitter; consumed by the call.
        truncated: Whether the completion ended at a limit rather than at an end-of-turn token.
    """
    spell = texts.start([])
    steps = [step for token in tokens for step in splitter.push(spell.push(token), 1)]
    last = splitter.finish(truncated=truncated)
    return [*steps, last] if last is not None else steps


def figures(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Summarize a batch of rollouts.

    Returns:
        A dict with these keys; shares are between 0 and 1.

        - `acceptance`: share of steps that are accepted, without guards
        - `accepted_tokens`: the same share, weighted by tokens
        - `clean`: share of rollouts without a rejected step
        - `tokens`: mean length of a rollout, in tokens
        - `steps`: mean number of steps
        - `longest`: mean length of the longest step, in tokens
        - `places`: share of steps that name a page, image, frame or time of the attachments
        - `wrong_places`: share of steps that name one that does not exist or is wrong
        - `right`: share of rollouts with a right answer
        - `finished`: share of rollouts that the draft ended itself, with an answer
    """
    steps = [
        (step, verdict)
        for one in rollouts
        for step, verdict in zip(one.steps, one.verdicts, strict=True)
    ]
    tokens = sum(step.tokens for step, _ in steps)
    taken = sum(step.tokens for step, verdict in steps if verdict.accepted)
    checks = [checked for one in rollouts for checked in one.place_checks()]
    return {
        "acceptance": fmean([verdict.accepted for _, verdict in steps] or [0.0]),
        "accepted_tokens": taken / max(1, tokens),
        "clean": fmean(all(verdict.accepted for verdict in one.verdicts) for one in rollouts),
        "tokens": fmean(one.tokens for one in rollouts),
        "steps": fmean(len(one.steps) for one in rollouts),
        "longest": fmean(max((s.tokens for s in one.steps), default=0) for one in rollouts),
        "places": fmean([bool(checked) for checked in checks] or [0.0]),
        "wrong_places": fmean([False in checked.values() for checked in checks] or [0.0]),
        "right": fmean(one.right for one in rollouts),
        "finished": fmean(one.finished for one in rollouts),
    }
