"""Which frames of a video are read, and what has to be decoded for them. Without any decoding.

The times are those of the packets that are in the file. Headers are not relied on: a file can be
cut, its duration can be missing or wrong.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.conversation.errors import TooManyFrames
from dreamr.conversation.flattening import clock
from dreamr.conversation.media_options import MAX_FRAMES

# Pixels decoded for exact frames, about four seconds of processor time. Where it would be more,
# frames that stand alone are taken if they are near.
_MOST_DECODED = 1_200_000_000
_LEAST_CHANGE = 4.0  # of the mean gray, of 255: less is noise and slow movement


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of a video stream.

    Attributes:
        stamp: Time of its frame in units of the stream.
        is_key: Whether decoding can begin with it.
        is_shown: Whether its frame is part of the video, and not only needed for others.
    """

    stamp: int
    is_key: bool
    is_shown: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """A frame to be read.

    Attributes:
        stamp: Its time in units of the stream.
        begin: Place, in decoding order, of the packet with which its decoding begins.
        place: Place of its own packet.
    """

    stamp: int
    begin: int
    place: int


def evenly_spaced(times: Sequence[float], count: int) -> tuple[int, ...]:
    """Return the indices of the times that are nearest to evenly spaced ones.

    The first and the last time are among them; of one, the one in the middle.

    Args:
        times: Times in ascending order.
        count: Number of indices, if there are enough times.
    """
    if len(times) <= count:
        return tuple(range(len(times)))
    if count < 1:
        return ()
    first, last = times[0], times[-1]
    if count == 1:
        return (nearest(times, (first + last) / 2),)
    wanted = (first + (last - first) * k / (count - 1) for k in range(count))
    return tuple(dict.fromkeys(nearest(times, time) for time in wanted))


def at_rate(times: Sequence[float], fps: float, shown: str) -> tuple[int, ...]:
    """Return the indices of the times that are nearest to those of a number a second.

    Args:
        times: Times in seconds, in ascending order.
        fps: Frames a second.
        shown: The video in messages.

    Raises:
        TooManyFrames: If there are more than `MAX_FRAMES`.
    """
    length = times[-1] - times[0]
    wanted = min(length * fps + 1, float(len(times)))
    if wanted >= MAX_FRAMES + 1:
        raise TooManyFrames(
            f"{shown} lasts {clock(length)}: {fps:g} frames a second are {int(wanted):,}, more "
            f"than {MAX_FRAMES}: choose fewer"
        )
    if length * fps + 1 >= len(times) * 2:  # more than there are: the steps would be countless
        return tuple(range(len(times)))
    steps = (times[0] + k / fps for k in range(int(length * fps) + 1))
    return tuple(dict.fromkeys(nearest(times, time) for time in steps))


def nearest(times: Sequence[float], time: float) -> int:
    """Return the index of the time that is nearest to another one; of two, the earlier."""
    after = bisect.bisect_left(times, time)
    if after == 0 or after == len(times):
        return min(after, len(times) - 1)
    return after if times[after] - time < time - times[after - 1] else after - 1


def largest_changes(thumbnails: Sequence[bytes], count: int) -> tuple[int, ...]:
    """Return the indices of the first frame and of those after the largest changes.

    Where there are fewer changes, frames between them follow.

    Args:
        thumbnails: Gray pixels of frames in the order of their times, the same number of each.
        count: Number of indices, if there are enough frames.
    """
    if len(thumbnails) <= count:
        return tuple(range(len(thumbnails)))
    changes = [
        (sum(map(abs, map(int.__sub__, before, after))) / len(after), index)
        for index, (before, after) in enumerate(itertools.pairwise(thumbnails), 1)
    ]
    large = [index for change, index in sorted(changes, reverse=True) if change >= _LEAST_CHANGE]
    chosen = {0, *large[: count - 1]}
    rest = [index for index in range(len(thumbnails)) if index not in chosen]
    chosen.update(rest[k] for k in evenly_spaced(rest, count - len(chosen)))
    return tuple(sorted(chosen))


class Timeline:
    """The packets of a video stream, in decoding order and by time.

    Args:
        packets: The packets in decoding order, one at least.
        unit: Seconds of a unit of the stream.
    """

    def __init__(self, packets: Sequence[Packet], unit: float) -> None:
        self._packets, self._unit = packets, unit
        shown = [k for k, packet in enumerate(packets) if packet.is_shown]
        places = shown or range(len(packets))
        self._by_time = sorted(places, key=lambda place: packets[place].stamp)
        self._start = packets[self._by_time[0]].stamp
        self.times = [self.seconds(packets[place].stamp) for place in self._by_time]
        self._begins = _begins(packets)

    def seconds(self, stamp: int) -> float:
        """Return the seconds from the first frame to a time in units of the stream."""
        return max(0.0, (stamp - self._start) * self._unit)

    @property
    def length(self) -> float:
        """Duration of the video in seconds; the last frame lasts as long as the others."""
        return self.times[-1] * len(self.times) / max(1, len(self.times) - 1)

    def targets(self, indices: Sequence[int], pixels: int) -> tuple[Target, ...]:
        """Return the frames of some indices of `times`, or near ones if those take too long.

        Args:
            indices: Indices in ascending order.
            pixels: Pixels of a frame.
        """
        exact = tuple(map(self._target, indices))
        if cost(exact) * pixels <= _MOST_DECODED or len(indices) < 2:
            return exact
        span = self.times[indices[-1]] - self.times[indices[0]]
        near = span / (len(indices) - 1) / 2
        keys = [k for k, place in enumerate(self._by_time) if self._packets[place].is_key]
        key_times = [self.times[k] for k in keys]
        chosen: dict[int, None] = {}
        for index in indices:
            key = keys[nearest(key_times, self.times[index])] if keys else index
            is_near = abs(self.times[key] - self.times[index]) <= near
            chosen[key if is_near else index] = None
        return tuple(map(self._target, sorted(chosen)))

    def _target(self, index: int) -> Target:
        place = self._by_time[index]
        return Target(self._packets[place].stamp, self._begins[place], place)


def _begins(packets: Sequence[Packet]) -> list[int]:
    """Return, for each packet, the place of the last one before it where decoding can begin."""
    begins, last = [], 0
    for place, packet in enumerate(packets):
        last = place if packet.is_key else last
        begins.append(last)
    return begins


def cost(targets: Sequence[Target]) -> int:
    """Return how many packets are decoded for some targets."""
    decoded, position = 0, -1
    for target in targets:
        begin = max(target.begin, position + 1)
        decoded += max(0, target.place - begin + 1)
        position = max(position, target.place)
    return decoded
