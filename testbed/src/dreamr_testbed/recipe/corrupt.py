"""Plausible wrong steps, for training the judge.

Two kinds: steps for a misread image, which are consistent, so only the image shows the error; and
right steps with one fact changed, which are inconsistent.
"""

from __future__ import annotations

import re
from random import Random

from dreamr_testbed.suites import Problem, ReferenceStep
from dreamr_testbed.suites.canvas import COLORS
from dreamr_testbed.suites.vqa import SHAPES, SIZES
from dreamr_testbed.suites.words import BARS, DAYS, GOODS, PEOPLE

FAMILIES: tuple[tuple[str, ...], ...] = (
    tuple(COLORS), SHAPES, SIZES, GOODS, tuple(good.capitalize() for good in GOODS), PEOPLE,
    DAYS, BARS, ("yes", "no"), ("first", "second", "third"), ("+", "-"),
    ("Top", "Middle", "Bottom"), ("top", "middle", "bottom"), ("stays under", "goes to"),
    ("new", "old"), ("more than", "not more than"), ("less than", "not less than"),
)  # fmt: skip
DIGITS = tuple("0123456789")
_VERBS = ("stays", "goes")  # of frames; no family, since stories name a place after them
_WORDS = {word: family for family in (*FAMILIES, _VERBS) for word in family}
_FACT = re.compile(r"[0-9]+|stays under|goes to|(?:not )?(?:more|less) than|[A-Za-z]+|[+-]")


def wrong_step(problem: Problem, at: int, style: str, rng: Random) -> str | None:
    """Draw a wrong text in place of a step.

    Args:
        problem: The problem.
        at: Index of the step.
        style: 'terse' or 'wordy'.
        rng: Source of randomness.

    Returns:
        The text, or None if no draw gives a wrong one.
    """
    right = problem.steps[at]
    kinds = (_misread, _misread, _misread, _altered, _altered, _altered, _misplaced)
    for attempt in range(7):
        # A step without a fact, such as "Needed: squares.", can only be replaced by another step.
        kind = rng.choice(kinds) if attempt < 6 else _misplaced
        step = kind(problem, at, style, rng)
        if step is not None and step not in right.renderings:
            return step
    return None


def wrong_answer(problem: Problem, rng: Random) -> str | None:
    """Return the final answer with one fact changed; None if it has no fact that can change."""
    return _changed(problem.final, rng)


def _text(step: ReferenceStep, style: str) -> str:
    return step.wordy if style == "wordy" else step.terse


def misread(problem: Problem, at: int, rng: Random) -> ReferenceStep | None:
    """Return step `at` of the reasoning for an image with one misread fact.

    Args:
        problem: The problem.
        at: Index of the step.
        rng: Source of randomness.

    Returns:
        The step, which may be right; None if that reasoning has fewer steps.
    """
    steps = problem.scene.misread(rng).steps
    return steps[at] if at < len(steps) else None


def _misread(problem: Problem, at: int, style: str, rng: Random) -> str | None:
    step = misread(problem, at, rng)
    return None if step is None else _text(step, style)


def _misplaced(problem: Problem, at: int, style: str, rng: Random) -> str | None:
    """Return a step that is right at another position: the previous one or one of the next two."""
    others = [i for i in (at - 1, at + 1, at + 2) if 0 <= i < len(problem.steps)]
    return _text(problem.steps[rng.choice(others)], style) if others else None


def _altered(problem: Problem, at: int, style: str, rng: Random) -> str | None:
    return _changed(_text(problem.steps[at], style), rng)


def _changed(text: str, rng: Random) -> str | None:
    facts = [m for m in _FACT.finditer(text) if m[0].isdigit() or m[0] in _WORDS]
    if not facts:
        return None
    # The last fact is usually the result, which drafts get wrong most often.
    fact = facts[-1] if rng.random() < 0.4 else rng.choice(facts)
    return text[: fact.start()] + _other(fact[0], rng) + text[fact.end() :]


def _other(fact: str, rng: Random) -> str:
    if not fact.isdigit():
        return rng.choice([word for word in _WORDS[fact] if word != fact])
    number = int(fact)
    near = [number + d for d in (-10, -2, -1, 1, 2, 10) if number + d >= 0]
    digits = [int(f"{number // 10 * 10 + d}") for d in range(10)]
    return str(rng.choice([n for n in (*near, *near, *digits) if n != number]))
