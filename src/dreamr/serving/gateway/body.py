"""Request bodies, read within bounds of size, structure, time and shared memory.

The parser holds the interpreter's lock for as long as it works, so a body is counted while it is
read: what is left of it then is parsed in milliseconds, or consists of a few long strings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import anyio
from anyio.lowlevel import checkpoint
from starlette.requests import ClientDisconnect, Request

from dreamr.serving.gateway.errors import ApiError, bad_request
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.options import ServeOptions

BODY_SECONDS = 60.0  # time limit for the request body
IDLE_SECONDS = 10.0  # longest pause within it
_SLICE = 2**16  # bytes that are scanned at once
_VALUES_PER_PART = 16  # JSON values of a message or part, more than any needs
_MORE_VALUES = 10_000  # of other fields
_MAX_OUTSIDE = 2**22  # bytes outside strings
# A string up to its end, or up to the end of what has arrived; then the group matches.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|(\\?)\Z)', re.DOTALL)
# Base64 as some JSON encoders write it: each escape takes the parser as long as 1 kB without any.
_NEEDLESS = ((rb"\/", b"/"), (rb"\u002B", b"+"), (rb"\u002b", b"+"))


class JsonScanner:
    """Counts the values and escapes of JSON text that arrives in pieces.

    Args:
        values: Largest number of values, with strings and names counted twice.
        escapes: Largest number of backslashes.
    """

    def __init__(self, values: int, escapes: int) -> None:
        self._values, self._escapes = values, escapes
        self._outside = _MAX_OUTSIDE
        self._open = b""  # what the next piece continues: nothing, a string or an escape in one

    def feed(self, data: bytes) -> bytes:
        """Count a piece; return it without needless escapes.

        Raises:
            ApiError: If there are too many values, escapes or bytes outside strings (400).
        """
        if b"\\" in data and rb"\\" not in data and len(self._open) < 2:
            for escape, character in _NEEDLESS:
                data = data.replace(escape, character)
        pieces = _STRING.split(self._open + data)
        strings, outside = pieces[1::2], b"".join(pieces[::2])
        self._open = b"" if not strings or strings[-1] is None else b'"' + strings[-1]
        self._values -= sum(map(outside.count, (b",", b"[", b"{"))) + strings.count(None)
        self._escapes -= data.count(b"\\")
        self._outside -= len(outside)
        if self._values < 0:
            raise bad_request("the request body has too many values: shorten its lists and objects")
        if self._escapes < 0:
            raise bad_request("the request body has too many escaped characters: send UTF-8 text")
        if self._outside < 0:
            raise bad_request(
                "the request body has too much text outside of strings: remove blanks"
            )
        return data


async def read_body(
    request: Request,
    options: ServeOptions,
    lease: Lease,
    deadline: float,
    most: int | None = None,
) -> bytearray:
    """Read the body of a request.

    Args:
        request: The request.
        options: Limits of the gateway.
        lease: Takes the bytes that arrive.
        deadline: Time (`time.perf_counter`) by which the body must be complete.
        most: Smaller limit of this endpoint in bytes; None for that of --max-body.

    Raises:
        ApiError: If the body is too slow (408), too large (413), not JSON (415), has too many
            values (400) or there is no memory for it (503).
        ClientDisconnect: If the client disconnects.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Browsers send other types across origins without a preflight request.
        raise ApiError(415, "the request body must be JSON with Content-Type: application/json")
    length = content_length(request)
    most = min(options.max_body, most or options.max_body)
    if length > most:
        raise too_large(most, options)
    lease.take_body(length)  # all of it: bodies that grow together would refuse each other
    scanner = JsonScanner(
        _VALUES_PER_PART * options.max_parts + _MORE_VALUES, 2 * options.max_text + _MORE_VALUES
    )
    body = bytearray()
    size, end, more = 0, min(time.perf_counter() + BODY_SECONDS, deadline), True
    while more:
        data, more = await receive_piece(request, end)
        size += len(data)
        if size > most:
            raise too_large(most, options)
        if not length:
            lease.take_body(len(data))
        for piece in _slices(data):
            body += scanner.feed(piece)
            await checkpoint()
    return body


def content_length(request: Request) -> int:
    """Return the number of bytes that a request announces, 0 if it does not."""
    header = request.headers.get("content-length", "")
    return int(header) if header.isascii() and header.isdecimal() else 0


async def receive_piece(request: Request, end: float) -> tuple[bytes, bool]:
    """Return the next piece of the body, and whether more follows.

    Raises:
        ApiError: If it does not arrive in time (408).
        ClientDisconnect: If the client disconnects.
    """
    with anyio.move_on_after(min(IDLE_SECONDS, max(0.0, end - time.perf_counter()))):
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), message.get("more_body", False)
    raise ApiError(
        408,
        f"the request body did not arrive in time: send it within {BODY_SECONDS:g} s, without "
        f"pauses of {IDLE_SECONDS:g} s",
    )


def _slices(data: bytes) -> Iterator[bytes]:
    if len(data) <= _SLICE:
        yield data
        return
    for start in range(0, len(data), _SLICE):
        yield data[start : start + _SLICE]


def too_large(most: int, options: ServeOptions) -> ApiError:
    """Return a 413 error: the body has more than the largest number of bytes."""
    more = ", or raise --max-body of the gateway" if most == options.max_body else ""
    return ApiError(413, f"the request body has more than {most:,} bytes: send less{more}")
