"""Places in attachments: pages, images, frames and times that a problem gives or a text names.

`places_in` reads English text with rules, never with a language model.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeAlias

from dreamr.conversation import Audio, Conversation, Document, Image, Video

NamedPlace: TypeAlias = tuple[Literal["page", "image", "frame", "time"], float]

TOLERANCE = 0.5  # s; a time in whole seconds is rounded
_MOST_LISTED = 1000  # pages or frames of a range such as 2-4
_MOST_ORDINALS = 20  # in a list; without a bound, long texts would take quadratic time


@dataclass(frozen=True, slots=True)
class Places:
    """Where in the attachments of a problem its answer is found, or what a step is about.

    Attributes:
        pages: Numbers of pages, from 1.
        times: Spans of a video or sound: start and end, in seconds.
        images: Numbers of images, from 1 in the order of the conversation.
    """

    pages: frozenset[int] = frozenset()
    times: tuple[tuple[float, float], ...] = ()
    images: frozenset[int] = frozenset()

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Convert JSON values: `{"pages": [3], "times": [12.5, [20, 24]]}`; all parts are optional.

        Raises:
            ValueError: If the values are not places; the message says which one.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or not set(value) <= set(known):
            raise ValueError(f"places must be an object with {', '.join(known)}, not {value!r:.60}")
        return cls(
            frozenset(_number("a page", each) for each in _listed(value.get("pages"))),
            tuple(map(_span, _listed(value.get("times")))),
            frozenset(_number("an image", each) for each in _listed(value.get("images"))),
        )


NOWHERE = Places()  # of problems that do not say it


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _number(what: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{what} must be a whole number from 1, not {value!r:.60}")
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
        images: Numbers of images, from 1.
        frames: Numbers of frames, from 1, among those that the models see.
        times: Times, in seconds.
    """

    pages: frozenset[int] = frozenset()
    images: frozenset[int] = frozenset()
    frames: frozenset[int] = frozenset()
    times: frozenset[float] = frozenset()

    def checks(
        self, conversation: Conversation, places: Places, *, tolerance: float = TOLERANCE
    ) -> dict[NamedPlace, bool | None]:
        """Check each named place of a kind that the problem has.

        A page is right if a document of the conversation shows it and it is one of the places. An
        image is right likewise. A time is right within the duration of a video or sound and the
        spans of the places. A frame is right if its time is; if no frame lies in a span, the
        nearest one is.

        Args:
            conversation: The problem.
            places: The right places; none of a kind if they are not known.
            tolerance: Seconds by which a time may lie outside a span.

        Returns:
            For each named place True if it is right, False if it does not exist or is wrong, and
            None if it exists and the right places of its kind are not known. Pages are left out in
            a problem without documents and without pages in its places. Times and frames are left
            out likewise, and images in a problem with a single one: they may be parts of it.
        """
        return {
            **self._page_checks(conversation, places),
            **self._image_checks(conversation, places),
            **self._frame_checks(conversation, places, tolerance),
            **self._time_checks(conversation, places, tolerance),
        }

    def _page_checks(
        self, conversation: Conversation, places: Places
    ) -> dict[NamedPlace, bool | None]:
        documents = [part for part in _parts(conversation) if isinstance(part, Document)]
        shown = {page.number for part in documents for page in part.pages}
        if not shown and not places.pages:
            return {}
        known = _known(places.pages)
        return {("page", at): (not shown or at in shown) and known(at) for at in self.pages}

    def _image_checks(
        self, conversation: Conversation, places: Places
    ) -> dict[NamedPlace, bool | None]:
        count = sum(isinstance(part, Image) for part in _parts(conversation))
        if count < 2 and not places.images:
            return {}
        known = _known(places.images)
        return {("image", at): (not count or 1 <= at <= count) and known(at) for at in self.images}

    def _frame_checks(
        self, conversation: Conversation, places: Places, tolerance: float
    ) -> dict[NamedPlace, bool | None]:
        videos = [part for part in _parts(conversation) if isinstance(part, Video)]
        if not videos:
            return {}
        right = {number for video in videos for number in _frames(video, places, tolerance)}
        found = True if places.times else None
        return {("frame", at): found if at in right else False for at in self.frames}

    def _time_checks(
        self, conversation: Conversation, places: Places, tolerance: float
    ) -> dict[NamedPlace, bool | None]:
        ends = [part.seconds for part in _parts(conversation) if isinstance(part, Video | Audio)]
        if not ends and not places.times:
            return {}
        last = max(ends, default=sys.float_info.max) + tolerance
        return {("time", at): at <= last and _within(at, places, tolerance) for at in self.times}


def _parts(conversation: Conversation) -> Iterator[object]:
    return (part for turn in conversation.turns for part in turn.parts)


def _known(right: frozenset[int]) -> Callable[[int], bool | None]:
    """Return a function that tells whether a number is right; None if no right ones are known."""
    return lambda number: number in right if right else None


def _within(time: float, places: Places, tolerance: float) -> bool | None:
    if not places.times:
        return None
    return any(_distance(time, span) <= tolerance for span in places.times)


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
    """Return the pattern of "page 3", "pages 2-4 and 7" and "the second and third page".

    "Two images per page 3 cm wide" names none.
    """
    return re.compile(
        r"(?<!\bper )(?<!\bevery )(?<!\beach )"
        rf"\b(?:(?:{several})[\s:#]*(?P<list>{_NUMBER}(?:{_AND}{_NUMBER})*)"
        rf"|(?:{one})(?:\s+(?:no\.?|number))?[\s:#]*(?P<one>{_NUMBER}))"
        rf"|\b(?P<ordinal>{_ORDINAL}(?:{_AND}(?:the\s+)?{_ORDINAL}){{0,{_MOST_ORDINALS}}})"
        rf"\s+(?:{one}|{several})\b",
        re.IGNORECASE,
    )


_PAGES = _naming(r"page|p\.", r"pages|pp\.")
_IMAGES = _naming("image", "images")
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
    """Find the pages, images, frames and times that a text names.

    Pages are named as in "page 3", "p. 3", "pages 2-4 and 7", "page three" and "the third page",
    images and frames likewise. Times are named as in "0:12.5", "1:02:03", "at 12.5 s" and "from 3
    to 5 s".
    """
    return NamedPlaces(
        frozenset(_numbers(_PAGES, text)),
        frozenset(_numbers(_IMAGES, text)),
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
