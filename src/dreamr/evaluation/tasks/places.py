"""Places in attachments: pages, frames and times, as a problem gives them and a text names them.

`places_in` reads English text with rules, never with a language model.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from dreamr.conversation import Audio, Conversation, Document, Video

TOLERANCE = 0.5  # s; a time in whole seconds is rounded
_MOST_LISTED = 1000  # pages or frames of a range such as 2-4


@dataclass(frozen=True, slots=True)
class Places:
    """Where in the attachments of a problem its answer is found.

    Attributes:
        pages: Numbers of pages, from 1.
        times: Spans of a video or sound: start and end, in seconds.
    """

    pages: frozenset[int] = frozenset()
    times: tuple[tuple[float, float], ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Convert JSON values: `{"pages": [3], "times": [12.5, [20, 24]]}`, each part optional.

        Raises:
            ValueError: If the values are not places; the message says which one.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or not set(value) <= set(known):
            raise ValueError(
                f"places must be an object with {' and '.join(known)}, not {value!r:.60}"
            )
        return cls(
            frozenset(map(_page, _listed(value.get("pages")))),
            tuple(map(_span, _listed(value.get("times")))),
        )


NOWHERE = Places()  # of problems that do not say it


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _page(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"a page must be a whole number from 1, not {value!r:.60}")
    return value


def _span(value: Any) -> tuple[float, float]:
    ends = value if isinstance(value, list) else [value, value]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if len(ends) != 2 or not numbers or not 0 <= ends[0] <= ends[1] <= sys.float_info.max:
        raise ValueError(f"a time must be seconds, or a start and an end, not {value!r:.60}")
    return float(ends[0]), float(ends[1])


@dataclass(frozen=True, slots=True)
class NamedPlaces:
    """Places that a text names.

    Attributes:
        pages: Numbers of pages.
        frames: Numbers of frames, from 1, among those that the models see.
        times: Times, in seconds.
    """

    pages: frozenset[int] = frozenset()
    frames: frozenset[int] = frozenset()
    times: frozenset[float] = frozenset()

    def checks(
        self, conversation: Conversation, places: Places, *, tolerance: float = TOLERANCE
    ) -> tuple[bool, ...]:
        """Check each named place of a kind that the problem is about.

        A page is right if a document of the conversation shows it and it is one of the places, if
        these have pages. A time is right within the duration of a video or sound and the spans of
        the places. A frame is right if its time is; if no frame lies in a span, the nearest one is.

        Args:
            conversation: The problem.
            places: Where its answer is found; without, a place only has to exist.
            tolerance: Seconds by which a time may lie outside a span.

        Returns:
            One value for each named page, frame and time. Pages do not count in a problem without
            documents and without pages in its places, and likewise times and frames.
        """
        parts = [part for turn in conversation.turns for part in turn.parts]
        shown = {page.number for part in parts if isinstance(part, Document) for page in part.pages}
        videos = [part for part in parts if isinstance(part, Video)]
        ends = [part.seconds for part in parts if isinstance(part, Video | Audio)]
        found: list[bool] = []
        if shown or places.pages:
            found += [
                (not shown or page in shown) and (not places.pages or page in places.pages)
                for page in self.pages
            ]
        if videos:
            right = {number for video in videos for number in _frames(video, places, tolerance)}
            found += [frame in right for frame in self.frames]
        if ends or places.times:
            found += [
                (not ends or time <= max(ends) + tolerance) and _within(time, places, tolerance)
                for time in self.times
            ]
        return tuple(found)


def _within(time: float, places: Places, tolerance: float) -> bool:
    return not places.times or any(_distance(time, span) <= tolerance for span in places.times)


def _frames(video: Video, places: Places, tolerance: float) -> Iterator[int]:
    """Yield the numbers of the frames of a video that show one of the places."""
    if not places.times:
        yield from range(1, len(video.frames) + 1)
    for span in places.times:
        away = [_distance(frame.seconds, span) for frame in video.frames]
        reach = max(tolerance, min(away, default=0.0))
        yield from (number for number, distance in enumerate(away, 1) if distance <= reach)


def _distance(seconds: float, span: tuple[float, float]) -> float:
    """Return by how many seconds a time lies outside a span."""
    return max(span[0] - seconds, seconds - span[1], 0.0)


_WORDS = [
    "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
]  # fmt: skip
_ORDINALS = [
    "first", "second", "third", "fourth", "fifth", "sixth",
    "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
]  # fmt: skip
_NUMBER = rf"(?:\d{{1,6}}(?!\d|[:.]\d|,\d{{3}}(?!\d))|\b(?:{'|'.join(_WORDS)})\b)"
_ORDINAL = rf"(?:\d{{1,6}}(?:st|nd|rd|th)|{'|'.join(_ORDINALS)})"
_AND = r"(?:\s*,\s*(?:and\s+|or\s+)?|\s*(?:&|-|\u2013)\s*|\s+(?:and|or|to|through)\s+)"
_RANGE = re.compile(r"(\w+)\s*(?:-|\u2013|\bto\b|\bthrough\b)\s*(\w+)")


def _naming(one: str, several: str) -> re.Pattern[str]:
    """Return the pattern of "page 3", "pages 2-4 and 7" and "the second and third page"."""
    return re.compile(
        rf"\b(?:(?:{several})[\s:#]*(?P<list>{_NUMBER}(?:{_AND}{_NUMBER})*)"
        rf"|(?:{one})(?:\s+(?:no\.?|number))?[\s:#]*(?P<one>{_NUMBER}))"
        rf"|\b(?P<ordinal>{_ORDINAL}(?:{_AND}(?:the\s+)?{_ORDINAL})*)\s+(?:{one}|{several})\b",
        re.IGNORECASE,
    )


_PAGES = _naming(r"page|p\.", r"pages|pp\.")
_FRAMES = _naming("frame", "frames")
# A time of day is not a time of a video.
_CLOCK = re.compile(
    r"(?<![\d:.,])(?:(\d{1,3}):(?=\d\d:))?(\d{1,3}):([0-5]\d(?:\.\d{1,6})?)"
    r"(?!\d|[:.]\d|\s*(?:[ap]\.?m\b|o'clock))",
    re.IGNORECASE,
)
_SECONDS = r"(\d{1,6}(?:\.\d{1,6})?)\s*(?:s|secs?|seconds?)\b"
_SPOKEN = re.compile(
    r"\b(?:at|from|to|until|till|near|between)\s+(?:about\s+|around\s+|roughly\s+)?"
    rf"(?:(\d{{1,4}})\s*(?:m|mins?|minutes?)\s*(?:and\s+)?)?{_SECONDS}",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    rf"\b(?:from|between)\s+(\d{{1,6}}(?:\.\d{{1,6}})?)\s*(?:s|secs?|seconds?)?\s*"
    rf"(?:to|and|-|\u2013)\s*{_SECONDS}",
    re.IGNORECASE,
)


def places_in(text: str) -> NamedPlaces:
    """Find the pages, frames and times that a text names.

    Pages are named as in "page 3", "p. 3", "pages 2-4 and 7", "page three" and "the third page",
    frames likewise. Times are named as in "0:12.5", "1:02:03", "at 12.5 s" and "from 3 to 5 s".
    """
    return NamedPlaces(
        frozenset(_numbers(_PAGES, text)),
        frozenset(_numbers(_FRAMES, text)),
        frozenset(_times(text)),
    )


def _numbers(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    for found in pattern.finditer(text):
        if found["ordinal"]:
            yield from _values(re.findall(_ORDINAL, found["ordinal"], re.IGNORECASE))
            continue
        named = found["list"] or found["one"]
        yield from _values(re.findall(r"\w+", named))
        for first, last in _RANGE.findall(named):
            ends = list(_values((first, last)))
            if len(ends) == 2 and ends[1] - ends[0] <= _MOST_LISTED:
                yield from range(ends[0], ends[1])


def _values(words: Iterable[str]) -> Iterator[int]:
    """Yield the values of number words, ordinals and digits; other words have none."""
    for word in words:
        lower = word.lower()
        if digits := re.match(r"\d+", lower):
            yield int(digits[0])
        elif lower in _WORDS:
            yield _WORDS.index(lower) + 1
        elif lower in _ORDINALS:
            yield _ORDINALS.index(lower) + 1


def _times(text: str) -> Iterator[float]:
    for hours, minutes, seconds in _CLOCK.findall(text):
        yield int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    for minutes, seconds in _SPOKEN.findall(text):
        yield int(minutes or 0) * 60 + float(seconds)
    for start, end in _BETWEEN.findall(text):
        yield from (float(start), float(end))
