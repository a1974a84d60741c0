"""Guards against reward hacking: ways to earn acceptance without reasoning.

A guard takes a rollout and returns the indices of steps whose reward is 0. Each guard can be
switched off by its name; the tests use that to show that the hack pays without its guard.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from dreamr.training.rollout import Rollout

GIANT = 3.0  # maximum length of a step, as a multiple of the target's longest step
MOST_STEPS = 2.0  # maximum number of steps, as a multiple of the target's number
LEAST_STEPS = 0.5  # minimum number of steps, as a share of the target's number
COPIED = 8  # consecutive words of the question that count as a copy; all of a shorter question
SHORTEST = 4  # minimum length of a copy, in words: shorter matches occur by chance

_WORD = re.compile(r"\w+")
_CONTENT = re.compile(r"\w+|[-+*/=<>]")  # operators carry meaning, other punctuation does not
_NOTHING: frozenset[int] = frozenset()


def giant(rollout: Rollout) -> frozenset[int]:
    """Find steps that are far longer than any of the target's.

    Without this guard, a draft puts all of its reasoning into one step to get a single verdict.
    """
    if rollout.reference is None or not rollout.reference.steps:
        return _NOTHING
    most = GIANT * max(step.tokens for step in rollout.reference.steps)
    return frozenset(i for i, step in enumerate(rollout.steps) if step.tokens > most)


def filler(rollout: Rollout) -> frozenset[int]:
    """Find steps without words, repeated steps, and steps far beyond the target's number.

    Without this guard, a draft collects accepted verdicts on trivial steps.
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
    """Find steps that repeat the question, which a target hardly ever rejects."""
    question = _words(rollout.question)
    size = max(SHORTEST, min(COPIED, len(question)))
    phrases = _runs(question, size)
    return frozenset(
        place
        for place, step in enumerate(rollout.steps)
        if phrases & _runs(_words(step.text), size)
    )


def bare(rollout: Rollout) -> frozenset[int]:
    """Find all steps of a rollout with too few of them, since its answer is a guess."""
    least = 1.0
    if rollout.reference is not None:
        least = max(least, LEAST_STEPS * len(rollout.reference.steps))
    return _all(rollout) if len(rollout.steps) < least else _NOTHING


def early(rollout: Rollout) -> frozenset[int]:
    """Find all steps of a rollout without an answer, since a beginning is easily right."""
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
    """Return for each step whether it passes all named guards and earns its verdict."""
    caught = frozenset().union(*(GUARDS[name](rollout) for name in guards))
    return tuple(place not in caught for place in range(len(rollout.steps)))


def reasons(rollout: Rollout, guards: Collection[str] = tuple(GUARDS)) -> bool:
    """Check whether any step passes the guards; without reasoning, short answers earn nothing."""
    if not rollout.steps:
        return "bare" not in guards
    return any(earning(rollout, guards))


def _all(rollout: Rollout) -> frozenset[int]:
    return frozenset(range(len(rollout.steps)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))


def _runs(words: tuple[str, ...], size: int) -> set[tuple[str, ...]]:
    return {words[at : at + size] for at in range(len(words) - size + 1)}
