"""Suites clip: answers agree with a second computation, and files show the same problems."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from dreamr_testbed.suites import conversation_of, draw_scene, make_problem, places_of, times
from dreamr_testbed.suites.clip import Coming, Moves, Number, Shells, Visits
from dreamr_testbed.suites.clip.tracks import Track
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dreamr.conversation import Video

suites = st.sampled_from(["clip", "clip-hard"])
indices, levels = st.integers(0, 10**6), st.integers(1, 3)


@given(suites, indices, levels)
def test_answers_follow_from_the_frames(suite: str, index: int, level: int) -> None:
    scene = draw_scene(suite, "test", index, level)
    assert 4 <= len(scene.views) <= 8
    if isinstance(scene, Shells):
        under: dict[str, set[str]] = {cup: set() for cup in scene.cups}
        for one, other in scene.events:
            if one in under:
                under[one], under[other] = under[other], under[one]
            else:
                under[other] = {*under[other], one}
        found = [next(cup for cup in under if shape in under[cup]) for shape in scene.asked]
        assert scene.answer == " and ".join(found)
        return
    assert isinstance(scene, Coming | Moves | Number | Visits)
    paths = [track.places for track in scene.tracks]
    if isinstance(scene, Visits):
        counts = [
            sum((3 if place is None else place // 3) == scene.row for place in path)
            for path in paths[: scene.picked]
        ]
        assert scene.answer == str(counts[0] - sum(counts[1:]))
    elif isinstance(scene, Moves):
        pairs = [pair for path in paths[: scene.picked] for pair in pairwise(path)]
        assert scene.answer == str(sum(a != b for a, b in pairs))
    elif isinstance(scene, Coming):
        assert scene.answer == str(sum(track.cell[2] in scene.words for track in scene.tracks))
    else:
        first = {
            next(at for at, place in enumerate(track.places) if place is not None): track.name
            for track in scene.tracks
        }
        assert len(first) == len(scene.tracks)
        assert scene.answer == [first[at] for at in sorted(first)][scene.asked - 1]


@given(suites, indices, levels)
def test_no_two_shapes_share_a_cell_and_steps_name_them_row_by_row(
    suite: str, index: int, level: int
) -> None:
    scene = draw_scene(suite, "test", index, level)
    for frame in range(len(scene.views)) if not isinstance(scene, Shells) else ():
        places = [track.places[frame] for track in scene.tracks]  # type: ignore[attr-defined]
        shown = [place for place in places if place is not None]
        assert len(shown) == len(set(shown))
        in_order = [track.places[frame] for track in scene.shown(frame)]  # type: ignore[attr-defined]
        assert in_order == sorted(shown)


def test_a_count_says_of_each_shape_whether_it_is_new_and_adds_those_that_count() -> None:
    star = Track(("big", "red", "star"), (None, 0, 0))
    first = Track(("big", "black", "circle"), (None, 1, None))
    second = Track(("small", "blue", "circle"), (None, None, 4))
    cross = Track(("big", "green", "cross"), (None, None, 8))
    empty, _, step = Coming((second, cross, star, first), ("circle",)).steps[1:-1]
    assert empty.renderings == ("Frame 1: empty.", "In frame 1 I see this: empty.")
    assert step.renderings == (
        "Frame 3: red star old, blue circle new: circles 1 + 1 = 2, green cross new.",
        "In frame 3 I see this: red star which is old, blue circle which is new: the number of "
        "circles is 1 + 1 = 2, green cross which is new.",
    )


def test_the_two_shapes_of_a_count_have_running_totals_of_their_own() -> None:
    star = Track(("big", "red", "star"), (0, 0))
    circle = Track(("big", "blue", "circle"), (1, None))
    other = Track(("big", "green", "star"), (None, 5))
    steps = Coming((star, circle, other), ("star", "circle")).steps
    assert [step.terse for step in steps] == [
        "Needed: stars and circles.",
        "Frame 1: red star new: stars 0 + 1 = 1, blue circle new: circles 0 + 1 = 1.",
        "Frame 2: red star old, green star new: stars 1 + 1 = 2.",
        "Together: 2 + 1 = 3.",
    ]


def test_a_new_shape_is_named_again_behind_its_number() -> None:
    star = Track(("big", "red", "star"), (None, 0, 0))
    circle = Track(("small", "blue", "circle"), (None, None, 4))
    *_, step, end = Number((circle, star), 2).steps
    assert step.renderings == (
        "Frame 3: red star old, blue circle new, number 2: blue circle.",
        "In frame 3 I see this: red star which is old, blue circle which is new, "
        "and number 2 is this: blue circle.",
    )
    assert end.terse == "Found number 2: blue circle."


def test_a_move_has_the_places_before_and_after() -> None:
    circle = Track(("small", "blue", "circle"), (0, 4, 4))
    first, goes, stays = Moves((circle,), 1).steps[1:-1]
    assert first.renderings == (
        "Frame 1: blue circle top row, first.",
        "In frame 1 I see this for the blue circle: top row, first.",
    )
    assert goes.renderings == (
        "Frame 2: blue circle from top row, first to middle row, second: goes, 0 + 1 = 1.",
        "In frame 2 the blue circle was before at top row, first and is now at middle row, second, "
        "so it goes, and that makes 0 + 1 = 1.",
    )
    assert stays.renderings == (
        "Frame 3: blue circle from middle row, second to middle row, second: stays.",
        "In frame 3 the blue circle was before at middle row, second and is now at middle row, "
        "second, so it stays.",
    )


@given(suites, indices)
def test_the_models_get_frames_with_their_times(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    (video,) = [p for p in conversation_of(problem).turns[-1].parts if isinstance(p, Video)]
    assert tuple(frame.seconds for frame in video.frames) == times(len(problem.images))
    assert len(video.frames) == len(problem.images)
    assert places_of(problem).times == tuple((at, at) for at in times(len(problem.images)))


@given(st.integers(2, 16))
def test_each_view_is_read_within_its_own_second(views: int) -> None:
    assert [int(at) for at in times(views)] == list(range(views))


@pytest.mark.parametrize("suite", ["clip", "clip-hard"])
def test_a_video_file_shows_the_frames_at_their_times(suite: str) -> None:
    pytest.importorskip("av")
    from dreamr_testbed.suites.video import video_of

    from dreamr.conversation import MediaOptions, read_attachment

    for index in range(4):
        problem = make_problem(suite, "test", index)
        video = read_attachment(video_of(problem), MediaOptions(frames=len(problem.images)))
        assert isinstance(video, Video)
        assert [f.seconds for f in video.frames] == pytest.approx(times(len(problem.images)))
        for frame, image in zip(video.frames, problem.images, strict=True):
            size = (frame.image.width, frame.image.height)
            read = Image.frombytes("RGB", size, frame.image.pixels).resize(image.size)
            difference = np.asarray(read, float) - np.asarray(image, float)
            assert np.abs(difference).mean() < 6
