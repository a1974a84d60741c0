"""Answers follow from what the images show: computed here a second time, from transcripts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from random import Random

import pytest
from dreamr_testbed.recipe.corrupt import wrong_step
from dreamr_testbed.suites import (
    EXTRA_SUITES,
    LEVELS,
    draw_scene,
    item_of,
    make_problem,
    reads_as_reference,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NEW = sorted(set(EXTRA_SUITES) - {"gap"})
RUNNING_SUM = re.compile(r"(total|goes,|[a-z]+s|[A-Za-z][a-z ]*:) (\d+) \+ \d+ = (\d+)")

suites = st.sampled_from(NEW)
indices = st.integers(0, 10**6)
levels = st.sampled_from(LEVELS)


@given(suites, indices, levels)
def test_totals_continue_from_step_to_step(suite: str, index: int, level: int) -> None:
    """A running sum begins with its result so far; the total of a second image begins at 0."""
    results: dict[str, str] = {}
    for step in draw_scene(suite, "test", index, level).steps:
        for name, left, result in RUNNING_SUM.findall(step.terse):
            assert left in (results.get(name.lower(), left), "0" if name == "total" else None)
            results[name.lower()] = result


@given(suites, indices, levels)
def test_every_place_that_a_step_names_exists(suite: str, index: int, level: int) -> None:
    scene = draw_scene(suite, "test", index, level)
    for step in scene.steps:
        for text in step.renderings:
            for number in re.findall(r"(?:[Ii]mage|[Pp]age|[Ff]rame) (\d+)", text):
                assert 1 <= int(number) <= len(scene.views)


@given(suites, indices, levels, st.sampled_from(["terse", "wordy"]), st.integers(0, 99))
def test_a_corrupted_step_fails_the_check(
    suite: str, index: int, level: int, style: str, seed: int
) -> None:
    scene = draw_scene(suite, "test", index, level)
    problem = make_problem(suite, "test", index, level)
    assert problem.scene == scene
    rng = Random(seed)
    at = rng.randrange(len(problem.steps))
    wrong = wrong_step(problem, at, style, rng)
    right = problem.steps[at]
    assert wrong is not None
    assert not reads_as_reference(problem, at, wrong)
    assert all(reads_as_reference(problem, at, text) for text in right.renderings)


@given(suites, indices, levels)
def test_only_the_right_answer_is_right(suite: str, index: int, level: int) -> None:
    problem = make_problem(suite, "test", index, level)
    item = item_of(problem)
    others = {draw_scene(suite, "test", index + more, level).answer for more in range(1, 5)}
    assert item.right(f"Some steps.\n\n{problem.final}")
    for other in others - {problem.answer}:
        assert not item.right(f"Some steps.\n\nAnswer: {other}")


@settings(max_examples=30)
@given(suites, st.integers(0, 10**4), levels)
def test_images_differ_where_answers_differ(suite: str, index: int, level: int) -> None:
    """The same question about other images has another answer: the text alone does not tell it."""
    scene = draw_scene(suite, "test", index, level)
    rng = Random(index)
    others = (scene.misread(rng) for _ in range(400))
    other = next((one for one in others if one.answer != scene.answer), None)
    assert other is not None
    assert other.question == scene.question
    assert other.transcript != scene.transcript


@pytest.mark.parametrize("suite", NEW)
def test_the_best_guess_from_the_question_alone_is_seldom_right(suite: str) -> None:
    """Names are left out: what remains of a question says as much as its numbers and form."""
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for index in range(400):
        scene = draw_scene(suite, "test", index)
        form = re.sub(r"\b(?:[A-Z][a-z]*|[a-z]{3,})\b", "_", scene.question)
        answers[type(scene).__name__, form][scene.answer] += 1
    often = [counts for counts in answers.values() if sum(counts.values()) >= 15]
    best = sum(counts.most_common(1)[0][1] for counts in often)
    assert best / sum(sum(counts.values()) for counts in often) < 0.35
