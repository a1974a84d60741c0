"""Branches of training examples: judge prompts about single steps, with the expected answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dreamr_testbed.recipe.corrupt import misread, wrong_step
from dreamr_testbed.recipe.tokens import (
    JUDGE_QUESTION,
    NEGATIVE,
    POSITIVE,
    SAME_QUESTION,
    SCORE_QUESTION,
)
from dreamr_testbed.suites import Problem


@dataclass(frozen=True, slots=True)
class Branch:
    """A judge prompt about one step, with the expected answer.

    Attributes:
        at: Index of the step on the main path.
        text: Another text that replaces the step; None to ask about the step itself.
        question: Judge prompt.
        answer: Expected answer, a single token.
    """

    at: int
    text: str | None = None
    question: str = JUDGE_QUESTION
    answer: str = POSITIVE


def verdict(at: int, wrong: str | None) -> Branch:
    """Return a branch that asks whether a step is right.

    Args:
        at: Index of the step.
        wrong: Wrong text in place of the step; None to ask about the step itself, which is right.
    """
    return Branch(at, wrong, answer=POSITIVE if wrong is None else NEGATIVE)


def score(at: int, wrong: str | None) -> Branch:
    """Return a branch that asks for a score from 0 to 9: 9 for a right step, 0 for a wrong one.

    Args:
        at: Index of the step.
        wrong: Wrong text in place of the step; None to ask about the step itself, which is right.
    """
    return Branch(at, wrong, SCORE_QUESTION, "9" if wrong is None else "0")


def same_question(step: str) -> str:
    """Return the judge prompt that asks whether a step has the same meaning as another."""
    return SAME_QUESTION.format(step=step)


def verdicts(problem: Problem, styles: Sequence[str], count: int, rng: Random) -> list[Branch]:
    """Draw up to `count` verdicts, half of them on wrong steps.

    Args:
        problem: The problem.
        styles: Style of each step from which to draw.
        count: Maximum number of branches.
        rng: Source of randomness.
    """
    return [verdict(at, wrong) for at, wrong in _samples(problem, styles, count, rng)]


def _samples(
    problem: Problem, styles: Sequence[str], count: int, rng: Random
) -> list[tuple[int, str | None]]:
    """Draw indices of steps, each with a wrong text in its place or None."""
    steps = range(len(styles))
    right = (max(0, count) + rng.randint(0, 1)) // 2
    samples: list[tuple[int, str | None]] = [
        (at, None) for at in rng.sample(steps, min(right, len(steps)))
    ]
    for at in rng.sample(steps, min(max(0, count - right), len(steps))):
        # The wrong step has the style of the right one, so style does not reveal the verdict.
        wrong = wrong_step(problem, at, styles[at], rng)
        if wrong is not None:
            samples.append((at, wrong))
    return samples


def other_questions(
    problem: Problem, styles: Sequence[str], count: int, rng: Random
) -> list[Branch]:
    """Draw up to `count` scores and `count` comparisons, as the judges of other methods ask.

    Args:
        problem: The problem.
        styles: Style of each step from which to draw.
        count: Number of scores and of comparisons.
        rng: Source of randomness.
    """
    scores = [score(at, wrong) for at, wrong in _samples(problem, styles, count, rng)]
    places = rng.choices(range(len(styles)), k=max(0, count))
    return scores + [_comparison(problem, at, styles[at], rng) for at in places]


def _comparison(problem: Problem, at: int, style: str, rng: Random) -> Branch:
    """Draw a comparison of a step with the target's step, which is mostly right and terse.

    Sometimes the target's step is wrong, alone or with the same error as the draft's, since
    comparing two steps differs from judging one.
    """
    right = problem.steps[at]
    draw = rng.random()
    if draw < 0.06:
        pair = misread(problem, at, rng)
        if pair is not None and pair.terse not in right.renderings:
            one, other = rng.sample(pair.renderings, 2)
            return Branch(at, one, same_question(other), POSITIVE)
    if draw < 0.14 and (own := wrong_step(problem, at, "terse", rng)) is not None:
        return Branch(at, None, same_question(own), NEGATIVE)
    if draw < 0.55 and (wrong := wrong_step(problem, at, style, rng)) is not None:
        return Branch(at, wrong, same_question(right.terse), NEGATIVE)
    return Branch(
        at, None, same_question(right.wordy if style == "terse" else right.terse), POSITIVE
    )
