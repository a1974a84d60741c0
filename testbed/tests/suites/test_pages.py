"""Suites pages: answers agree with a second computation, and files show the same problems."""

from __future__ import annotations

import re
from itertools import product
from random import Random

import numpy as np
import pytest
from dreamr_testbed.suites import (
    PATCH,
    SIDE,
    conversation_of,
    draw_scene,
    make_problem,
    places_of,
)
from dreamr_testbed.suites.pages import Invoice, Statement, Timetable
from dreamr_testbed.suites.problem import ReferenceStep
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dreamr.conversation import Document, Text, flatten

suites = st.sampled_from(["pages", "pages-hard"])
indices, levels = st.integers(0, 10**6), st.integers(1, 3)


@given(suites, indices, levels)
def test_answers_follow_from_the_pages(suite: str, index: int, level: int) -> None:
    scene = draw_scene(suite, "test", index, level)
    assert 2 <= len(scene.views) <= 4
    if isinstance(scene, Statement):
        pages = scene.parts[: scene.page or None]
        lines = [entry for part in pages for entry in part]
        if scene.ask == "left":
            signed = [entry.amount if entry.sign == "+" else -entry.amount for entry in lines]
            expected = scene.start + sum(signed)
        else:
            expected = sum(entry.amount for entry in lines if entry.name == scene.good)
    elif isinstance(scene, Invoice):
        prices = {good: n for part in scene.prices for good, n in part}
        costs = {good: n * prices[good] for part in scene.orders for good, n in part}
        picked = [costs[good] for good in scene.picked or costs]
        expected = picked[0] - picked[1] if scene.ask == "difference" else sum(picked)
        expected -= expected * scene.rate // 100
    else:
        assert isinstance(scene, Timetable)
        expected = minutes(scene)
    assert scene.answer == str(expected)
    assert 0 <= expected <= 99


def minutes(scene: Timetable) -> int:
    """The answer of a timetable, computed bus by bus."""
    if scene.ask in ("ride", "fastest"):
        start, end = scene.stops
        rides = [[page[end][bus] - page[start][bus] for bus in (0, 1)] for page in scene.parts]
        return rides[scene.page - 1][scene.bus] if scene.ask == "ride" else min(map(min, rides))
    bus, waited = scene.bus, 0
    for page, stop in enumerate(scene.stops[: len(scene.parts) - 1]):
        arrival = scene.parts[page][stop][bus]
        leaves = min(time for time in scene.parts[page + 1][stop] if time > arrival)
        bus = scene.parts[page + 1][stop].index(leaves)
        waited += leaves - arrival
    return waited if scene.ask == "waits" else scene.parts[-1][scene.stops[-1]][bus]


@given(suites, indices, levels)
def test_no_bus_leaves_at_the_minute_of_an_arrival(suite: str, index: int, level: int) -> None:
    scene = draw_scene(suite, "test", index, level)
    assert not isinstance(scene, Timetable) or not unclear(scene)


def test_the_next_bus_is_clear_in_many_drawn_and_misread_timetables() -> None:
    changes = 0
    for suite, level, index in product(("pages", "pages-hard"), (1, 2, 3), range(300)):
        scene = draw_scene(suite, "test", index, level)
        if isinstance(scene, Timetable) and scene.ask in ("change", "waits"):
            changes += 1
            assert not unclear(scene)
            assert not any(unclear(scene.misread(Random(seed))) for seed in range(20))
    assert changes > 100


def unclear(scene: Timetable) -> bool:
    """Whether a bus leaves at the very minute of an arrival at a change."""
    if scene.ask in ("ride", "fastest"):
        return False
    bus = scene.bus
    for page, stop in enumerate(scene.stops[: len(scene.parts) - 1]):
        arrival, times = scene.parts[page][stop][bus], scene.parts[page + 1][stop]
        if arrival in times:
            return True
        bus = times.index(min(time for time in times if time > arrival))
    return False


def test_a_timetable_is_impossible_where_the_next_bus_is_unclear_or_missed() -> None:
    first = ((5, 12), (25, 30))
    for times, possible in (((23, 31), True), ((25, 31), False), ((23, 25), False)):
        scene = Timetable((first, ((18, 20), times)), "waits", (1,), 0)
        assert scene.possible == possible


def test_the_step_of_a_change_names_the_arrival_before_the_next_bus() -> None:
    scene = Timetable((((5, 12), (25, 30)), ((18, 20), (23, 31))), "waits", (1,), 0)
    assert scene.steps[1] == ReferenceStep(
        "Page 1, row 2: B 25 and 30, first is 25.",
        "On page 1, row 2, I see B and there I read 25 and 30, and the first is 25.",
    )
    assert scene.steps[2] == ReferenceStep(
        "Page 2, row 2: B 23 and 31, after 25: second is 31.",
        "On page 2, row 2, I see B and there I read 23 and 31, and after 25 the second is 31.",
    )


def test_a_ride_is_compared_with_the_best_before_it() -> None:
    scene = Timetable((((5, 28), (20, 40)), ((10, 20), (30, 32))), "fastest", (0, 1), 0)
    rides = [step for step in scene.steps if "best" in step.terse]
    assert [step.terse for step in rides] == [
        "Page 1, first: 20 - 5 = 15, best 15.",
        "Page 1, second: 40 - 28 = 12, less than 15, best 12.",
        "Page 2, first: 30 - 10 = 20, not less than 12, best 12.",
        "Page 2, second: 32 - 20 = 12, not less than 12, best 12.",
    ]
    assert [step.wordy for step in rides[:3]] == [
        "On page 1 the first bus takes 20 - 5 = 15, so the best is now 15.",
        "On page 1 the second bus takes 40 - 28 = 12, that is less than 15, so the best is now 12.",
        "On page 2 the first bus takes 30 - 10 = 20, that is not less than 12, "
        "so the best is now 12.",
    ]


@given(suites, indices, levels)
def test_all_numbers_have_at_most_two_digits(suite: str, index: int, level: int) -> None:
    for step in draw_scene(suite, "test", index, level).steps:
        assert all(len(number) <= 2 for number in re.findall(r"\d+", step.terse))


@given(suites, indices)
def test_the_models_get_numbered_pages(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    (document,) = [p for p in conversation_of(problem).turns[-1].parts if isinstance(p, Document)]
    assert [page.number for page in document.pages] == list(range(1, len(problem.images) + 1))
    texts = [
        p.text for p in flatten(conversation_of(problem)).turns[-1].parts if isinstance(p, Text)
    ]
    assert texts[0] == "Page 1:\n"
    assert texts[-1].endswith(problem.question)


@given(suites, indices)
def test_places_are_the_pages_that_the_reference_reads(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    places = places_of(problem)
    assert places.pages
    assert places.pages <= set(range(1, len(problem.images) + 1))
    for number in range(1, len(problem.images) + 1):
        read = any(f"Page {number}" in step.terse for step in problem.steps)
        assert read == (number in places.pages) or f"page {number}" in str(problem.steps[0])


@pytest.mark.parametrize("suite", ["pages", "pages-hard"])
def test_a_pdf_file_has_the_pages_and_their_text(suite: str) -> None:
    pytest.importorskip("reportlab")
    pytest.importorskip("pypdfium2")
    from dreamr_testbed.suites.pdf import pdf_of

    from dreamr.conversation import MediaOptions, read_attachment

    for index in range(6):
        problem = make_problem(suite, "test", index)
        file = pdf_of(problem)
        assert file == pdf_of(problem)
        document = read_attachment(file, MediaOptions(pdf_text="on"))
        assert isinstance(document, Document)
        assert len(document.pages) == document.count == len(problem.images)
        words = " ".join(page.text for page in document.pages).split()
        wanted = re.findall(r"\w+", problem.scene.transcript.replace("Start", "START"))
        assert set(wanted) <= set(words)
        for page, image in zip(document.pages, problem.images, strict=True):
            size = (page.image.width, page.image.height)
            drawn = Image.frombytes("RGB", size, page.image.pixels).resize(image.size)
            assert written_rows(drawn) == written_rows(image)


def written_rows(image: Image.Image) -> list[bool]:
    """Whether each row of patches has ink at half its height."""
    pixels = np.asarray(image.convert("L"))
    return [bool(pixels[top + 6 : top + 18].min() < 140) for top in range(0, SIDE, PATCH)]
