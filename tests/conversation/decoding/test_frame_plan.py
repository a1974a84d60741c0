from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import TooManyFrames
from dreamr.conversation.decoding.frame_plan import (
    Packet,
    Timeline,
    at_rate,
    cost,
    evenly_spaced,
    largest_changes,
    nearest,
)

times = st.lists(st.floats(0, 1e5, allow_nan=False), min_size=1, max_size=200, unique=True).map(
    sorted
)


@given(times, st.integers(1, 40))
def test_even_spacing_takes_the_ends_and_what_is_nearest_between(
    found: list[float], count: int
) -> None:
    indices = evenly_spaced(found, count)
    assert list(indices) == sorted(set(indices))
    if len(found) <= count:
        assert list(indices) == list(range(len(found)))
        return
    first, last = found[0], found[-1]
    if count == 1:
        even = [(first + last) / 2]
    else:
        assert indices[0] == 0
        assert indices[-1] == len(found) - 1
        even = [first + (last - first) * k / (count - 1) for k in range(count)]
    least = [min(distances(found, one)) for one in even]
    taken = [found[index] for index in indices]
    assert [min(distances(taken, one)) for one in even] == least
    assert all(
        any(abs(time - one) == best for one, best in zip(even, least, strict=True))
        for time in taken
    )


def distances(found: list[float], time: float) -> list[float]:
    return [abs(other - time) for other in found]


@given(st.integers(2, 40), st.integers(0, 400))
def test_frames_at_a_constant_rate_are_evenly_spaced(count: int, more: int) -> None:
    found = [k / 25 for k in range(count + more)]
    indices = evenly_spaced(found, count)
    assert len(indices) == count
    gaps = [later - earlier for earlier, later in itertools.pairwise(indices)]
    assert max(gaps) - min(gaps) <= 1


def test_one_frame_is_the_middle_one() -> None:
    assert evenly_spaced([0.0, 1.0, 2.0, 3.0, 4.0], 1) == (2,)
    assert evenly_spaced([7.0], 1) == (0,)


@given(times, st.floats(-10, 2e5))
def test_no_time_is_nearer_than_the_nearest(found: list[float], time: float) -> None:
    best = abs(found[nearest(found, time)] - time)
    assert best == min(distances(found, time))


def test_a_rate_takes_that_many_frames_a_second() -> None:
    found = [k / 30 for k in range(301)]  # ten seconds
    assert at_rate(found, 2, "clip.mp4") == tuple(range(0, 301, 15))
    assert at_rate(found[:31], 1000, "clip.mp4") == tuple(range(31))
    assert at_rate([0.0], 5, "clip.mp4") == (0,)


def test_more_frames_than_allowed_are_refused_with_their_number() -> None:
    with pytest.raises(TooManyFrames, match=r"lasts 10:00\.0: 1 frames a second are 601, more"):
        at_rate([k / 10 for k in range(6001)], 1, "clip.mp4")
    with pytest.raises(TooManyFrames):
        at_rate([k * 1e12 for k in range(300)], 30, "clip.mp4")


def test_times_that_lie_far_apart_are_not_counted_through() -> None:
    assert at_rate([0.0, 1e15], 100, "clip.mp4") == (0, 1)


def timeline(stamps: list[int], keys: set[int]) -> Timeline:
    packets = [Packet(stamp, place in keys) for place, stamp in enumerate(stamps)]
    return Timeline(packets, 0.1)


def test_a_timeline_is_in_order_of_time_and_decoding_begins_at_a_key() -> None:
    # Decoding order with frames that are shown before one that is decoded earlier.
    found = timeline([5, 8, 6, 7, 9, 12, 10, 11], {0, 4})
    assert found.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert found.length == pytest.approx(0.8)
    targets = found.targets((1, 3, 5), 64)
    assert [(t.stamp, t.begin, t.place) for t in targets] == [(6, 0, 2), (8, 0, 1), (10, 4, 6)]
    assert cost(targets) == 3 + 3


def test_frames_that_stand_alone_are_taken_where_exact_ones_cost_too_much() -> None:
    found = timeline(list(range(1000)), set(range(0, 1000, 30)))
    indices = evenly_spaced(found.times, 8)
    exact = found.targets(indices, 10_000)
    near = found.targets(indices, 3840 * 2160 * 4)
    assert [t.stamp for t in exact] == list(indices)
    assert len(near) == 8
    assert cost(near) == 8
    assert all(abs(a.stamp - b.stamp) <= 15 for a, b in zip(exact, near, strict=True))


def test_frames_that_are_only_needed_for_others_are_not_chosen() -> None:
    packets = [
        Packet(-2, True, False),
        Packet(-1, False, False),
        Packet(0, False),
        Packet(1, False),
    ]
    found = Timeline(packets, 0.5)
    assert found.times == [0.0, 0.5]
    assert [t.begin for t in found.targets((0, 1), 64)] == [0, 0]


def thumbnails(grays: list[int]) -> list[bytes]:
    return [bytes([gray]) * 16 for gray in grays]


def test_changes_are_found_where_the_scene_changes() -> None:
    grays = [10] * 5 + [200] * 5 + [90] * 5
    assert largest_changes(thumbnails(grays), 3) == (0, 5, 10)
    assert largest_changes(thumbnails(grays), 2) == (0, 5)


def test_without_changes_frames_are_spread() -> None:
    assert largest_changes(thumbnails([50] * 11), 3) == (0, 1, 10)
    assert largest_changes(thumbnails([1, 2]), 8) == (0, 1)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.integers(1, 20))
def test_as_many_scenes_as_wanted(grays: list[int], count: int) -> None:
    found = largest_changes(thumbnails(grays), count)
    assert len(found) == min(count, len(grays))
    assert found[0] == 0
    assert list(found) == sorted(set(found))
