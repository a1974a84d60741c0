"""The tokens of a conversation's steps: fixed when first needed, and never tokenized again.

A tree of step texts. A step that repeats what this very model generated at that place keeps the
tokens it was generated with; any other is tokenized on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

_KEPT = 4  # generated continuations remembered at one place


@dataclass(slots=True)
class Generation:
    """Tokens that were generated from one place, and the text each made complete.

    ends[i]: characters of `text` that are certain after token i, or -1 where the token leaves a
    character unfinished.
    """

    ids: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    text: str = ""

    def push(self, token: int, text: str, *, whole: bool) -> None:
        """One more token; `whole`: no part of a character is pending after it."""
        self.text += text
        self.ids.append(token)
        self.ends.append(len(self.text) if whole else -1)


@dataclass(slots=True)
class _Tail:
    """A generation from one of its tokens on."""

    generation: Generation
    token: int
    char: int

    def match(self, step: str) -> _Tail | None:
        """What is left behind this step, if the step is how the tail begins."""
        end = self.char + len(step)
        if not step or not self.generation.text.startswith(step, self.char):
            return None
        for place in range(self.token, len(self.generation.ids)):
            if self.generation.ends[place] == end:
                return _Tail(self.generation, place + 1, end)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A step that was judged at some place, and the model's hidden rows over it.

    rows: (len(ids) + 1, width); row i predicts token i, the last one what would follow.
    """

    ids: Sequence[int]
    rows: Any


@dataclass(slots=True)
class Node:
    """A place in the assistant's text: after `ids` (of its last step), with what may follow.

    foreseen: the tokens that the model itself would greedily write here, and their
    log-probabilities, as far as a judging pass has shown them by the way. shown: what that pass
    knows about any other draw.
    """

    ids: list[int]
    children: dict[str, Node] = field(default_factory=dict)
    tails: list[_Tail] = field(default_factory=list)
    foreseen: list[tuple[int, float]] = field(default_factory=list)
    shown: Shown | None = None

    def remember(self, generation: Generation) -> None:
        """A stream has started from here."""
        self.tails = [*self.tails[1 - _KEPT :], _Tail(generation, 0, 0)]

    def child(self, step: str, tokenize: Callable[[str], list[int]]) -> Node:
        """The place after one more step."""
        if (known := self.children.get(step)) is None:
            known = self.children[step] = self._make(step, tokenize)
        return known

    def _make(self, step: str, tokenize: Callable[[str], list[int]]) -> Node:
        matches = [(tail, rest) for tail in self.tails if (rest := tail.match(step))]
        if not matches:
            return Node(tokenize(step))
        tail, rest = matches[-1]
        ids = tail.generation.ids[tail.token : rest.token]
        same = [
            other
            for before, other in matches
            if before.generation.ids[before.token : other.token] == ids
        ]
        return Node(ids, tails=same)


def walk(root: Node, steps: Sequence[str], tokenize: Callable[[str], list[int]]) -> list[Node]:
    """The places after each of these steps."""
    nodes = [root]
    for step in steps:
        nodes.append(nodes[-1].child(step, tokenize))
    return nodes[1:]
