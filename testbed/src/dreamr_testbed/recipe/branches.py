"""Branches of an example: a step that is asked about, and the answer."""

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
    """A step that is asked about, and the answer.

    at: which step of the main path. text: another, wrong one in its place, or None.
    """

    at: int
    text: str | None = None
    question: str = JUDGE_QUESTION
    answer: str = POSITIVE


def verdict(at: int, wrong: str | None) -> Branch:
    """Whether step `at`, or a wrong one in its place, is right."""
    return Branch(at, wrong, answer=POSITIVE if wrong is None else NEGATIVE)


def score(at: int, wrong: str | None) -> Branch:
    """From 0 to 9, how sound step `at` is, or a wrong one in its place."""
    return Branch(at, wrong, SCORE_QUESTION, "9" if wrong is None else "0")


def same_question(step: str) -> str:
    """Whether a step says the same as this one."""
    return SAME_QUESTION.format(step=step)


def verdicts(problem: Problem, styles: Sequence[str], count: int, rng: Random) -> list[Branch]:
    """At most `count` judged steps of a beginning in given styles, right and wrong ones alike."""
    return [verdict(at, wrong) for at, wrong in _samples(problem, styles, count, rng)]


def _samples(
    problem: Problem, styles: Sequence[str], count: int, rng: Random
) -> list[tuple[int, str | None]]:
    """Steps of a beginning: as they are (None), and wrong ones in the place of some."""
    steps = range(len(styles))
    right = (max(0, count) + rng.randint(0, 1)) // 2
    samples: list[tuple[int, str | None]] = [
        (at, None) for at in rng.sample(steps, min(right, len(steps)))
    ]
    for at in rng.sample(steps, min(max(0, count - right), len(steps))):
        # The style of the path, as right steps have it: a verdict must not be told by style.
        wrong = wrong_step(problem, at, styles[at], rng)
        if wrong is not None:
            samples.append((at, wrong))
    return samples


def other_questions(
    problem: Problem, styles: Sequence[str], count: int, rng: Random
) -> list[Branch]:
    """What the judges of other methods ask: `count` scores, and `count` comparisons."""
    scores = [score(at, wrong) for at, wrong in _samples(problem, styles, count, rng)]
    places = rng.choices(range(len(styles)), k=max(0, count))
    return scores + [_comparison(problem, at, styles[at], rng) for at in places]


def _comparison(problem: Problem, at: int, style: str, rng: Random) -> Branch:
    """A step, and one that the target wrote in its place, which is mostly right and terse.

    Now and then it is the target that is wrong, alone or with the same error: to compare is not to
    judge.
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
