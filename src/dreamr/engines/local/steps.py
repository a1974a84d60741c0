"""Tokens of a conversation's steps, fixed on first use and never retokenized.

The nodes form a tree of step texts. A step that repeats what this model generated at the same place
keeps the tokens it was generated with. All other steps are tokenized separately.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

_KEPT = 4  # most generations remembered per node


@dataclass(slots=True)
class Generation:
    """Tokens generated from one node, and their text.

    Attributes:
        ids: The tokens.
        ends: For each token, the number of characters of `text` that are certain after it; -1 if
            it ends within a character.
        text: The text.
    """

    ids: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    text: str = ""

    def push(self, token: int, text: str, *, whole: bool) -> None:
        """Append a token and its text; `whole` if it does not end within a character."""
        self.text += text
        self.ids.append(token)
        self.ends.append(len(self.text) if whole else -1)


@dataclass(slots=True)
class _Tail:
    """Rest of a generation, from one of its tokens on."""

    generation: Generation
    token: int
    char: int

    def match(self, step: str) -> _Tail | None:
        """Return the rest after a step; None if the tail does not begin with it."""
        end = self.char + len(step)
        if not step or not self.generation.text.startswith(step, self.char):
            return None
        for place in range(self.token, len(self.generation.ids)):
            if self.generation.ends[place] == end:
                return _Tail(self.generation, place + 1, end)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRows:
    """Hidden rows over a judged step.

    Attributes:
        ids: Tokens of the step.
        rows: (len(ids) + 1, width); row i predicts token i, the last row the token after the step.
    """

    ids: Sequence[int]
    rows: Any


@dataclass(slots=True)
class Node:
    """A place in the assistant's text: the end of a step.

    Attributes:
        ids: Tokens of the step.
        children: Nodes after one more step, by the text of that step.
        tails: Generations that continue here.
        greedy: Tokens that the model would write here greedily, with their log-probabilities, as
            far as a judge call has computed them.
        judged: Rows of the last judged step that begins here, for streams that sample.
    """

    ids: list[int]
    children: dict[str, Node] = field(default_factory=dict)
    tails: list[_Tail] = field(default_factory=list)
    greedy: list[tuple[int, float]] = field(default_factory=list)
    judged: JudgedRows | None = None

    def remember(self, generation: Generation) -> None:
        """Add a generation that starts here."""
        self.tails = [*self.tails[1 - _KEPT :], _Tail(generation, 0, 0)]

    def child(self, step: str, tokenize: Callable[[str], list[int]]) -> Node:
        """Return the node after one more step."""
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
    """Return the node after each of these steps."""
    nodes = [root]
    for step in steps:
        nodes.append(nodes[-1].child(step, tokenize))
    return nodes[1:]
