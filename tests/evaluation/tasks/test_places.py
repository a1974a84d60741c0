"""Pages, frames and times that a text names, and whether they are the right ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import Conversation, clock
from dreamr.evaluation.tasks import NamedPlaces, Places, places_in
from support.attachments import asked, document, image, sound, video

TEXT_ONLY = asked()


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("On page 3 the total is 12.", {3}),
        ("Page 3: the total", {3}),
        ("See p. 3.", {3}),
        ("pages 2-4 and 7", {2, 3, 4, 7}),
        ("Pages 2, 3, and 5 list them.", {2, 3, 5}),
        ("pp. 3,5", {3, 5}),
        ("page no. 4, PAGE #5", {4, 5}),
        ("page three", {3}),
        ("the third page", {3}),
        ("the 2nd and 3rd pages", {2, 3}),
        ("pages two to four", {2, 3, 4}),
        ("page 3 of 12", {3}),
        ("page 3, 4 apples", {3}),
        ("12 pages", set()),
        ("page 3.2", set()),
        ("homepage 3", set()),
        ("the pages 1-999999", {1, 999999}),
        ("pages 9-2", {9, 2}),
        ("frame 3 and page", set()),
        ("", set()),
    ],
)
def test_pages_are_found_in_the_forms_in_which_they_are_written(text: str, pages: set[int]) -> None:
    assert places_in(text).pages == pages


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("In frame 2 the door opens.", {2}),
        ("frames 1 to 3", {1, 2, 3}),
        ("the second frame", {2}),
        ("the first and third frames", {1, 3}),
        ("frame 2 of 8", {2}),
        ("30 frames per second", set()),
        ("page 3", set()),
    ],
)
def test_frames_are_found_likewise(text: str, frames: set[int]) -> None:
    assert places_in(text).frames == frames


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("At 0:12.5 the door opens.", {12.5}),
        ("0:12.5:", {12.5}),
        ("(1:02:03)", {3723.0}),
        ("from 0:03 to 0:05", {3.0, 5.0}),
        ("0:03-0:05", {3.0, 5.0}),
        ("at 12.5 s", {12.5}),
        ("at about 7 seconds", {7.0}),
        ("at 2 minutes and 5 seconds", {125.0}),
        ("between 3 and 5 s", {3.0, 5.0}),
        ("from 3 s to 5 s", {3.0, 5.0}),
        ("It lasts 12 seconds.", set()),
        ("a ratio of 1:2", set()),
        ("The train leaves at 3:30 pm.", set()),
        ("page 3", set()),
    ],
)
def test_times_are_found_but_durations_and_times_of_day_are_not(
    text: str, times: set[float]
) -> None:
    assert places_in(text).times == times


@given(st.integers(0, 100_000))
def test_a_time_as_the_models_are_shown_it_is_found(tenths: int) -> None:
    [found] = places_in(f"{clock(tenths / 10)}:\n").times
    assert found == pytest.approx(tenths / 10)


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert isinstance(places_in(text), NamedPlaces)


def checks(text: str, conversation: Conversation, places: Places | None = None) -> list[bool]:
    return sorted(places_in(text).checks(conversation, places or Places()))


@pytest.mark.parametrize(
    ("text", "places", "right"),
    [
        ("page 2", Places(), [True]),
        ("page 4", Places(), [False]),  # the document has it, the models do not see it
        ("page 2", Places(frozenset({2})), [True]),
        ("page 1", Places(frozenset({2})), [False]),
        ("pages 1 and 2", Places(frozenset({2})), [False, True]),
        ("page 4", Places(frozenset({4})), [False]),
        ("at 0:01", Places(frozenset({2})), []),  # a document has no times
        ("frame 1", Places(), []),
    ],
)
def test_a_page_is_right_if_it_is_shown_and_holds_the_answer(
    text: str, places: Places, right: list[bool]
) -> None:
    assert checks(text, asked(document(1, 2, 3)), places) == right


@pytest.mark.parametrize(
    ("text", "places", "right"),
    [
        ("at 0:02", Places(), [True]),
        ("at 0:59", Places(), [False]),  # beyond the end
        ("at 0:02", Places(times=((1.8, 2.2),)), [True]),
        ("at 0:02", Places(times=((2.4, 3.0),)), [True]),  # in whole seconds
        ("at 0:02", Places(times=((3.0, 4.0),)), [False]),
        ("frame 3", Places(times=((2.0, 2.0),)), [True]),
        ("frame 2", Places(times=((2.0, 2.0),)), [False]),
        ("frame 9", Places(), [False]),
        ("frame 5", Places(times=((7.0, 8.0),)), [True]),  # the nearest that is shown
        ("frame 4", Places(times=((7.0, 8.0),)), [False]),
        ("frame 1 at 0:00.0", Places(times=((0.0, 0.5), (3.0, 4.0))), [True, True]),
        ("page 2", Places(), []),
    ],
)
def test_frames_and_times_are_right_in_the_spans_of_the_answer(
    text: str, places: Places, right: list[bool]
) -> None:
    assert checks(text, asked(video(5)), places) == right


def test_a_sound_has_times_and_no_frames() -> None:
    assert checks("at 0:00.1 and at 0:30", asked(sound())) == [False, True]
    assert checks("frame 1", asked(sound())) == []


def test_a_problem_of_images_or_text_has_no_places_unless_it_says_so() -> None:
    for conversation in (TEXT_ONLY, asked(image(1))):
        assert checks("page 1, frame 1 at 0:01", conversation) == []
    scans = Places(frozenset({2}))  # each image is a page
    assert checks("page 2 and page 3", asked(image(1), image(2)), scans) == [False, True]


def test_of_several_attachments_any_may_be_meant() -> None:
    both = asked(document(1), document(5, name="other.pdf"), video(1), video(3))
    assert checks("page 5, page 1, frame 3, at 0:02", both) == [True] * 4


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({}, Places()),
        ({"pages": None, "times": None}, Places()),
        ({"pages": 3}, Places(frozenset({3}))),
        ({"pages": [3, 1]}, Places(frozenset({1, 3}))),
        ({"times": [12, [3, 4.5]]}, Places(times=((12.0, 12.0), (3.0, 4.5)))),
    ],
)
def test_places_are_read_from_json(value: Any, places: Places) -> None:
    assert Places.from_json(value) == places


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3], "must be an object with pages and times"),
        ({"page": 3}, "must be an object with pages and times"),
        ({"pages": ["3"]}, "a page must be a whole number from 1, not '3'"),
        ({"pages": [0]}, "a page must be a whole number"),
        ({"pages": [True]}, "a page must be a whole number"),
        ({"times": ["0:12"]}, "a time must be seconds, or a start and an end, not '0:12'"),
        ({"times": [[5, 3]]}, "a time must be"),
        ({"times": [[1, 2, 3]]}, "a time must be"),
        ({"times": [-1]}, "a time must be"),
        ({"times": [float("nan")]}, "a time must be"),
        ({"times": [float("inf")]}, "a time must be"),
        ({"times": [10**400]}, "a time must be"),
        ({"times": [True]}, "a time must be"),
    ],
)
def test_values_that_are_no_places_are_named(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Places.from_json(value)
