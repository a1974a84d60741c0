"""Decode the body of a streamed response into JSON objects.

Servers send more than the standard of server-sent events allows: a byte order mark, JSON without
events, several objects in one event, a last event without a blank line, another content type. The
decoder of httpx2 drops or refuses these, and text with them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field

import anyio

from dreamr.engines.http.failures import cut
from dreamr.engines.http.retries import TransientError
from dreamr.errors import EngineError

DONE = "[DONE]"
_FIELDS = ("", "data", "event", "id", "retry", "error")  # a line without a name is a comment
_BOM = b"\xef\xbb\xbf"
_TAIL_SECONDS = 5.0  # longest wait for the usage report after a finish reason
_MOST_BYTES = 16 * 2**20  # of one event, or of a body without events
_SHOWN_BYTES = 2000  # of a body without events that an error message may show


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream.

    Attributes:
        data: Data of the event; may have several lines.
        name: Name of the event, empty if it has none.
        cut: Whether the response ended before the event did.
    """

    data: str
    name: str = ""
    cut: bool = False


@dataclass(slots=True)
class EventDecoder:
    """Turns the bytes of a response into events.

    Attributes:
        url: Address, for messages.
        hide: API key, which some servers repeat in errors; empty if there is none.
        head: Beginning of the body.
        plain: Whether the body is JSON without events; None until it has begun.
        streams: Whether the body has a line of a stream of events, if only a comment.
    """

    url: str
    hide: str = ""
    head: bytes = b""
    plain: bool | None = None
    streams: bool = False
    _line: bytearray = field(default_factory=bytearray)
    _size: int = 0  # bytes of the unfinished event
    _after_return: bool = False  # whether a line feed would belong to the last line end
    _data: list[str] = field(default_factory=list)
    _name: str = ""

    def push(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that a piece of the body completes.

        Raises:
            TransientError: If an event is too large or not UTF-8.
        """
        if len(self.head) < _SHOWN_BYTES:
            self.head += piece[: _SHOWN_BYTES - len(self.head)]
        if self.plain is None:
            self.plain = _begins_json(self.head)
        self._size += len(piece)
        for line in [] if self.plain else self._lines(piece):
            yield from self._read(line)
        if self.plain:
            self._line += piece
        if self._size > _MOST_BYTES:
            raise TransientError(EngineError(f"{self.url} sent an event of over 16 MiB"))

    def finish(self) -> Iterator[Event]:
        """Yield the events that the end of the body completes.

        Raises:
            TransientError: If the rest is not UTF-8.
        """
        rest = bytes(self._line)
        if self.plain:
            yield Event(self._text(rest.removeprefix(_BOM)), cut=True)
            return
        if rest:
            yield from self._read(rest)
        if self._data:
            yield Event("\n".join(self._data), self._name, cut=True)

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        """Yield the lines that a piece completes; a carriage return alone also ends one."""
        if self._after_return:
            piece = piece.removeprefix(b"\n")
        self._after_return = piece.endswith(b"\r")
        *whole, rest = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            yield bytes(self._line + line)
            self._line.clear()
        self._line += rest

    def _read(self, line: bytes) -> Iterator[Event]:
        """Read one line, and yield the event that an empty line ends."""
        text = self._text(line.removeprefix(_BOM))
        if not text:
            if self._data or self._name:
                yield Event("\n".join(self._data), self._name)
            self._data, self._name, self._size = [], "", 0
            return
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        self.streams = self.streams or name in _FIELDS
        if name not in _FIELDS and self.streams and any(sign in text for sign in '{}"'):
            shown = cut(text, self.hide)
            raise TransientError(EngineError(f"{self.url} streamed a damaged line: {shown}"))
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif name == "error":  # llama.cpp until September 2025
            self._data.append(value)
            self._name = "error"

    def _text(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            failure = EngineError(f"{self.url} streamed bytes that are not UTF-8")
            raise TransientError(failure) from error


def _begins_json(head: bytes) -> bool | None:
    """Check whether a body is JSON without events, None if only white space has arrived."""
    begun = head.removeprefix(_BOM).lstrip()
    if not begun or _BOM.startswith(begun):
        return None
    return begun[:1] in (b"{", b"[")


async def decode(
    pieces: AsyncIterator[bytes], url: str, hide: str = ""
) -> AsyncGenerator[tuple[str, object], None]:
    """Yield the name and the JSON of each event.

    The last event is `DONE` if the server sent it. Comments and heartbeats are dropped.

    Args:
        pieces: Body of the response.
        url: Address, for messages.
        hide: See `EventDecoder`.

    Raises:
        TransientError: If the response is damaged or is not a stream of events.
    """
    decoder = EventDecoder(url, hide)
    async for event in _events(decoder, pieces):
        for value in _values(event, url, hide):
            yield event.name, value
            if value == DONE:
                return
    head = decoder.head.decode("utf-8-sig", "replace").strip()
    if head and not (decoder.streams or decoder.plain):
        shown = cut(head, hide)
        raise TransientError(EngineError(f"{url} did not stream its answer but sent: {shown}"))


async def _events(decoder: EventDecoder, pieces: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    async for piece in pieces:
        for event in decoder.push(piece):
            yield event
    for event in decoder.finish():
        yield event


def _values(event: Event, url: str, hide: str) -> Iterator[object]:
    """Yield the JSON values of an event; `DONE` for its end sign."""
    data = event.data.strip()
    if event.name.lower() == "error":
        yield _error(data)
        return
    try:
        yield from _read(data)
        return
    except (ValueError, RecursionError):
        lines = [line for line in data.split("\n") if line.strip()]
    for line in lines:  # several objects in one event, or JSON without events
        try:
            yield from _read(line)
        except (ValueError, RecursionError) as error:
            what = "closed the stream in the middle of" if event.cut else "streamed"
            failure = EngineError(f"{url} {what} text that is not JSON: {cut(line, hide)}")
            raise TransientError(failure) from error


def _read(data: str) -> Iterator[object]:
    """Yield the value of one text, nothing for a heartbeat or a comment."""
    data = data.strip()
    while data.startswith("data:"):  # repeated by some proxies
        data = data.removeprefix("data:").lstrip()
    if data.upper() == DONE:
        yield DONE
    elif any(sign in data for sign in '{}"'):
        yield json.loads(data)


def _error(data: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data


async def next_event(events: AsyncIterator[object], *, ended: bool) -> object:
    """Return the next event, None at the end; after a finish reason, do not wait long for one."""
    if not ended:
        return await anext(events, None)
    with anyio.move_on_after(_TAIL_SECONDS):
        return await anext(events, None)
    return None
