"""Stop texts: end a stream or an answer where the text contains one, outside of thoughts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from dreamr.answers import AnswerPiece, TokenLogprob, logprobs_until
from dreamr.engines import Chunk
from dreamr.steps import ends_inside


class StopSearch:
    """Searches a text that arrives in pieces for stop texts.

    A stop text can extend over several pieces and begin in the text before the stream. Text that
    can be the beginning of one is held back until it is decided.

    Attributes:
        found: Whether a stop text was found.
        overlap: Number of characters of the stop text that was found that are before the stream.
    """

    def __init__(self, stops: tuple[str, ...], before: str, *, opened: bool) -> None:
        """Begin a stream.

        Args:
            stops: The stop texts.
            before: The assistant's text before the stream.
            opened: Whether the chat template opens a thought.
        """
        self._stops, self._opened = stops, opened
        self._longest = max(map(len, stops))
        self._beginnings = frozenset(stop[:n] for stop in stops for n in range(1, len(stop)))
        self._text = before
        self._start = self._released = len(before)
        self._searched = max(0, len(before) - self._longest + 1)
        self.found, self.overlap = False, 0

    def push(self, text: str) -> tuple[str, bool]:
        """Add a piece; return the text that is certain, and whether it ends with a stop text."""
        self._text += text
        if (start := self._find()) is not None:
            self.found, self.overlap = True, max(0, self._released - start)
            return self._text[self._released : start], True
        held = max(self._released, self._beginning())
        certain, self._released = self._text[self._released : held], held
        return certain, False

    def close(self) -> str:
        """End the text, and return what was held back."""
        return self._text[self._released :]

    def _find(self) -> int | None:
        """Return where the first stop text outside a thought begins."""
        places = sorted(
            place
            for stop in self._stops
            for place in _occurrences(self._text, stop, self._searched)
            if place + len(stop) > self._start  # others were committed before the stream
        )
        self._searched = max(self._searched, len(self._text) - self._longest + 1)
        for place in places:
            if not ends_inside(self._text[:place], opened=self._opened):
                return place
        return None

    def _beginning(self) -> int:
        """Return where a stop text may begin that the end of the text does not complete."""
        for place in range(max(0, len(self._text) - self._longest + 1), len(self._text)):
            if self._text[place:] in self._beginnings:
                return place
        return len(self._text)


class AnswerCut:
    """Ends an answer in its form at the first stop text of its text; calls are not searched.

    If there are stop texts, the log-probabilities come with the last piece.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        """Begin an answer; there may be no stop texts."""
        self._search = StopSearch(stops, "", opened=False) if stops else None
        self._text, self._end = "", 0  # text so far, and where what was returned of it ends
        self._logprobs: list[TokenLogprob] = []

    def cut(self, piece: AnswerPiece) -> AnswerPiece:
        """Return what is certain of a piece; it has a finish if the answer ends there."""
        if self._search is None:
            return piece
        self._text += piece.text
        self._logprobs += piece.logprobs
        text, stopped = self._search.push(piece.text)
        self._end += len(text)
        if stopped:
            logprobs = logprobs_until(self._end, self._text, self._logprobs)
            return replace(piece, text=text, calls=(), logprobs=logprobs, finish="stop")
        if piece.finish is None:
            return replace(piece, text=text, logprobs=())
        return replace(piece, text=text + self._search.close(), logprobs=tuple(self._logprobs))


async def until_stop(
    stream: AsyncGenerator[Chunk, None], search: StopSearch
) -> AsyncGenerator[Chunk, None]:
    """Yield the chunks of a stream up to the first stop text, without that; closes the stream."""
    waiting: Chunk | None = None  # tokens whose text is held back
    async with aclosing(stream):
        async for chunk in stream:
            text, stopped = search.push(chunk.text)
            if not stopped and chunk.finish is not None:
                text += search.close()
            merged = _merged(waiting, chunk, text)
            if stopped:
                yield replace(merged, finish="stop")
                return
            if text or chunk.finish is not None:
                waiting = None
                yield merged
            else:
                waiting = merged
    if waiting is not None:  # the engine ended without a finish
        yield replace(waiting, text=search.close())


def _merged(waiting: Chunk | None, chunk: Chunk, text: str) -> Chunk:
    if waiting is None:
        return replace(chunk, text=text)
    logprob = low = None
    if waiting.logprob is not None and chunk.logprob is not None:
        logprob = waiting.logprob + chunk.logprob
    if waiting.min_logprob is not None and chunk.min_logprob is not None:
        low = min(waiting.min_logprob, chunk.min_logprob)
    # The entropy is that of the first token.
    return Chunk(text, waiting.tokens + chunk.tokens, chunk.finish, logprob, low, waiting.entropy)


def _occurrences(text: str, stop: str, start: int) -> list[int]:
    places = []
    while (start := text.find(stop, start)) >= 0:
        places.append(start)
        start += 1
    return places
