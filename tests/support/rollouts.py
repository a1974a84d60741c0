"""Rollouts made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.conversation import Conversation
from dreamr.evaluation.tasks import Item, Places
from dreamr.gate import Verdict
from dreamr.steps import Ending, Step
from dreamr.training import Reference, Rollout


def step(text: str, tokens: int = 5) -> Step:
    return Step(f"{text}\n\n", tokens, Ending.DELIMITER)


def verdict(ratio: float) -> Verdict:
    return Verdict(ratio >= 0.7, ratio, 0.7, "by hand", kind="ratio")


def reference(steps: int = 4, tokens: int = 20, *, right: bool = True) -> Reference:
    each = tokens // max(1, steps)
    return Reference(tuple(step(f"own {i}", each) for i in range(steps)), tokens, right)


def problem(conversation: Conversation, places: Places | None = None) -> Item:
    """Return a problem whose answers are all right."""
    return Item(
        "by hand", 0, "0", "", "0", conversation, str, bool, places=places or Places()
    )  # fmt: skip


def rollout(
    texts: Sequence[str] = ("one", "two", "three"),
    ratios: Sequence[float] | None = None,
    *,
    sizes: Sequence[int] | None = None,
    tokens: int | None = None,
    right: bool = True,
    finished: bool = True,
    own: Reference | None = None,
    question: str = "What is it?",
    item: Item | None = None,
) -> Rollout:
    sizes = sizes or [5] * len(texts)
    return Rollout(
        item=item or problem(Conversation.from_prompt(question)),
        steps=tuple(step(text, size) for text, size in zip(texts, sizes, strict=True)),
        verdicts=tuple(map(verdict, ratios or [0.9] * len(texts))),
        tokens=sum(sizes) + 2 if tokens is None else tokens,
        finished=finished,
        right=right,
        reference=own,
    )
