"""Suites clip: answers agree with a second computation, and files show the same problems."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from dreamr_testbed.suites import conversation_of, draw_scene, make_problem, places_of, times
from dreamr_testbed.suites.clip import Coming, Moves, Number, Shells, Visits
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
