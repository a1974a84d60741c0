"""What keeps a draft from earning acceptance without reasoning (reward hacking).

Every guard looks at one rollout and says which of its steps earn nothing, or that none does. Each
can be switched off by its name, which is how its test shows that the hack pays without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from dreamr.training.rollout import Rollout

GIANT = 3.0  # a step so many times as long as the longest of the target's own earns nothing
MOST_STEPS = 2.0  # steps beyond so many times the target's own earn nothing
LEAST_STEPS = 0.5  # fewer steps than this share of the target's own are no reasoning
COPIED = 8  # words in a row out of the question are a copy, and all words of a shorter one
SHORTEST = 4  # fewer words in a row are chance

_WORD = re.compile(r"\w+")
_CONTENT = re.compile(r"\w+|[-+*/=<>]")  # commas tell nothing, signs do
_NOTHING: frozenset[int] = frozenset()


def giant(rollout: Rollout) -> frozenset[int]:
    """Steps that are far longer than any of the target's: one giant step is one verdict."""
    if rollout.reference is None or not rollout.reference.steps:
        return _NOTHING
    most = GIANT * max(step.tokens for step in rollout.reference.steps)
    return frozenset(i for i, step in enumerate(rollout.steps) if step.tokens > most)


def filler(rollout: Rollout) -> frozenset[int]:
    """Steps without a word, steps said before, and steps far beyond the target's number.

    In these the draft collects verdicts on what is surely right.
    """
    seen: set[tuple[str, ...]] = set()
    found = set()
    for place, step in enumerate(rollout.steps):
        content = tuple(_CONTENT.findall(step.text.lower()))
        if not _WORD.search(step.text) or content in seen:
            found.add(place)
        seen.add(content)
    if rollout.reference is not None and rollout.reference.steps:
        most = int(MOST_STEPS * len(rollout.reference.steps))
        found.update(range(most, len(rollout.steps)))
    return frozenset(found)


def copies(rollout: Rollout) -> frozenset[int]:
    """Steps that repeat the question, which nobody will call wrong."""
    question = _words(rollout.question)
    size = max(SHORTEST, min(COPIED, len(question)))
    phrases = _runs(question, size)
    return frozenset(
        place
        for place, step in enumerate(rollout.steps)
        if phrases & _runs(_words(step.text), size)
    )


def bare(rollout: Rollout) -> frozenset[int]:
    """All steps, where there are too few of them to be reasoning: the answer is a guess."""
    least = 1.0
    if rollout.reference is not None:
        least = max(least, LEAST_STEPS * len(rollout.reference.steps))
    return _all(rollout) if len(rollout.steps) < least else _NOTHING


def early(rollout: Rollout) -> frozenset[int]:
    """All steps, where no answer came: a beginning is easily right."""
    return _NOTHING if rollout.finished else _all(rollout)


Guard = Callable[[Rollout], frozenset[int]]
GUARDS: Mapping[str, Guard] = {
    "giant": giant,
    "filler": filler,
    "copies": copies,
    "bare": bare,
    "early": early,
}


def earning(rollout: Rollout, guards: Collection[str] = tuple(GUARDS)) -> tuple[bool, ...]:
    """For each step whether it earns what its verdict says, by all named guards."""
    caught = frozenset().union(*(GUARDS[name](rollout) for name in guards))
    return tuple(place not in caught for place in range(len(rollout.steps)))


def reasons(rollout: Rollout, guards: Collection[str] = tuple(GUARDS)) -> bool:
    """Whether there is reasoning that earns anything; without it, being short is no merit."""
    if not rollout.steps:
        return "bare" not in guards
    return any(earning(rollout, guards))


def _all(rollout: Rollout) -> frozenset[int]:
    return frozenset(range(len(rollout.steps)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))


def _runs(words: tuple[str, ...], size: int) -> set[tuple[str, ...]]:
    return {words[at : at + size] for at in range(len(words) - size + 1)}
