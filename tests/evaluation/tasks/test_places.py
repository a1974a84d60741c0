"""Pages, images, frames and times that a text names, and whether they are the right ones."""

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
        ("The page shows 3 lines, and the front page has them.", set()),
        ("the page number, page numbers 3", set()),
        ("two images per page 3 cm wide, every page 4 lines, each page 5", set()),
        ("one page of 12", set()),
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
    ("text", "images"),
    [
        ("Image 1, row 2: 12.", {1}),
        ("<image 2> shows it", {2}),
        ("images 1 and 3", {1, 3}),
        ("the second image", {2}),
        ("all 3 images, an image of 2 dogs", set()),
    ],
)
def test_images_are_found_likewise(text: str, images: set[int]) -> None:
    assert places_in(text).images == images


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


def test_a_text_that_repeats_itself_is_read() -> None:
    assert places_in("second, " * 10_000 + "the first page").pages == {1, 2}


@given(st.sampled_from(["page", "image", "frame"]), st.sets(st.integers(1, 9999), min_size=1))
def test_numbers_after_the_name_of_a_place_are_found_and_no_others(
    name: str, numbers: set[int]
) -> None:
    steps = "".join(f"{name.title()} {number}, row 4: tea 12 x 3 = 36.\n" for number in numbers)
    lists = f"So on {name}s {', '.join(map(str, sorted(numbers)))}: 7."
    for text in (steps, lists):
        named = places_in(text)
        assert getattr(named, f"{name}s") == numbers
        assert len(named.pages | named.images | named.frames | named.times) == len(numbers)


@given(
    st.lists(st.sampled_from(["page", "image", "frame", "one", "the", "of", "at", "s", ".", "a"]))
)
def test_a_text_without_numbers_names_no_number_that_it_does_not_say(words: list[str]) -> None:
    named = places_in(" ".join(words))
    assert named.pages | named.images | named.frames <= {1}
    assert not named.times


places = st.builds(
    Places,
    st.frozensets(st.integers(1, 6)),
    st.lists(st.integers(0, 6).map(lambda at: (float(at), at + 1.0))).map(tuple),
    st.frozensets(st.integers(1, 6)),
)
named_places = st.builds(
    NamedPlaces,
    st.frozensets(st.integers(0, 9)),
    st.frozensets(st.integers(0, 9)),
    st.frozensets(st.integers(0, 9)),
    st.frozensets(st.floats(0, 99)),
)


@given(named_places, places)
def test_what_does_not_exist_is_wrong_and_what_exists_is_unknown_without_places(
    named: NamedPlaces, right: Places
) -> None:
    problem = asked(document(1, 2, 3), video(3), image(1), image(2))
    found = named.checks(problem, Places())
    assert set(found.values()) <= {False, None}
    assert len(found) == sum(map(len, (named.pages, named.images, named.frames, named.times)))
    for place, check in named.checks(problem, right).items():
        if found[place] is False:
            assert check is False


def checks(
    text: str, conversation: Conversation, places: Places | None = None
) -> list[bool | None]:
    found = places_in(text).checks(conversation, places or Places())
    return [found[place] for place in sorted(found)]


@pytest.mark.parametrize(
    ("text", "places", "right"),
    [
        ("page 2", Places(), [None]),
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
        ("at 0:02", Places(), [None]),
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
    assert checks("at 0:00.1 and at 0:30", asked(sound())) == [None, False]
    assert checks("frame 1", asked(sound())) == []


def test_a_problem_of_images_or_text_has_no_places_unless_it_says_so() -> None:
    for conversation in (TEXT_ONLY, asked(image(1))):
        assert checks("page 1, frame 1 at 0:01", conversation) == []
    scans = Places(frozenset({2}))  # each image is a page
    assert checks("page 2 and page 3", asked(image(1), image(2)), scans) == [True, False]


def test_an_image_is_right_if_it_exists_and_holds_the_answer() -> None:
    both = asked(image(1), image(2))
    assert checks("images 0, 1, 2 and 3", both) == [False, None, None, False]
    second = Places(images=frozenset({2}))
    assert checks("images 1, 2 and 3", both, second) == [False, True, False]


def test_a_single_image_may_have_parts_that_are_called_images() -> None:
    assert checks("the second image", asked(image(1))) == []


def test_of_several_attachments_any_may_be_meant() -> None:
    both = asked(document(1), document(5, name="other.pdf"), video(1), video(3))
    assert checks("page 5, page 1, frame 3, at 0:02", both) == [None] * 4


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({}, Places()),
        ({"pages": None, "times": None}, Places()),
        ({"pages": 3}, Places(frozenset({3}))),
        ({"pages": [3, 1]}, Places(frozenset({1, 3}))),
        ({"images": [2]}, Places(images=frozenset({2}))),
        ({"times": [12, [3, 4.5]]}, Places(times=((12.0, 12.0), (3.0, 4.5)))),
    ],
)
def test_places_are_read_from_json(value: Any, places: Places) -> None:
    assert Places.from_json(value) == places


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3], "must be an object with pages, times, images"),
        ({"page": 3}, "must be an object with pages, times, images"),
        ({"pages": ["3"]}, "a page must be a whole number from 1, not '3'"),
        ({"pages": [0]}, "a page must be a whole number"),
        ({"pages": [True]}, "a page must be a whole number"),
        ({"images": [0]}, "an image must be a whole number from 1, not 0"),
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
