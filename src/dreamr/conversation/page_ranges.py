"""Selections of pages, such as `1-3,7`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dreamr._messages import short_path
from dreamr.conversation.errors import BadPages, PageMissing, TooManyPages

_RANGE = re.compile(r"([0-9]{1,9})(?:\s*(-)\s*([0-9]{1,9})?)?")
_MOST_TEXT = 2000  # characters of a selection
_FORM = "write numbers and ranges from 1, such as 1-3,7 or 5-"


@dataclass(frozen=True, slots=True)
class PageRanges:
    """Ranges of pages in the order in which they were chosen.

    Attributes:
        ranges: First and last page of each range; None as the last page: to the end.
    """

    ranges: tuple[tuple[int, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> PageRanges:
        """Parse a selection; a blank one has no ranges.

        Raises:
            BadPages: If the text is not a selection of pages.
        """
        if not isinstance(text, str) or len(text) > _MOST_TEXT:
            raise BadPages(f"pages must be a text such as 1-3,7 of at most {_MOST_TEXT} characters")
        pieces = [piece.strip() for piece in text.split(",")] if text.strip() else []
        return cls(tuple(_parsed(piece, text) for piece in pieces))

    def within(self, count: int, name: str, *, first: int, most: int) -> tuple[int, ...]:
        """Return the numbers of the chosen pages of a document, each once.

        Args:
            count: Number of pages of the document; it may be wrong, so that nothing is allocated
                by it.
            name: The document in messages.
            first: How many pages are taken if there are no ranges.
            most: How many pages can be chosen.

        Raises:
            PageMissing: If a page is beyond the end.
            TooManyPages: If there are more than `most`.
        """
        if not self.ranges:
            return tuple(range(1, min(count, first) + 1))
        has = f"{name} has {count} page{'' if count == 1 else 's'}"
        for start, end in self.ranges:
            beyond = max(start, end or start)
            if beyond > count:
                choice = "page 1" if count == 1 else f"from 1 to {count}"
                raise PageMissing(f"{has}, and no page {beyond}: choose {choice}")
        chosen: dict[int, None] = {}
        for start, end in self.ranges:
            for number in range(start, (count if end is None else end) + 1):
                chosen[number] = None
                if len(chosen) > most:
                    raise TooManyPages(
                        f"more than {most} pages of {name} are chosen: choose fewer, such as "
                        f"1-{most}"
                    )
        return tuple(chosen)


def _parsed(piece: str, text: str) -> tuple[int, int | None]:
    found = _RANGE.fullmatch(piece)
    shown = short_path(text, 60)
    if found is None:
        raise BadPages(f"{shown!r} is not a selection of pages: {_FORM}")
    start, dash, end = int(found[1]), found[2], found[3]
    if start < 1 or (end is not None and int(end) < 1):
        raise BadPages(f"{shown!r} asks for page 0, but pages count from 1: {_FORM}")
    if end is not None and int(end) < start:
        raise BadPages(f"{shown!r} has a range that ends before it begins: write {end}-{start}")
    if not dash:
        return start, start
    return start, None if end is None else int(end)
