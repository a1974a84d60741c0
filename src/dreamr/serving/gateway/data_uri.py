"""Data URIs, as RFC 2397 and the URL standard of WHATWG define them, and base64 alone."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_SLICE = 2**16  # characters that are decoded at once, a multiple of four
_HEAD = 2**12  # longest media type with parameters
_SHIFTS = 4
_BLANKS = b" \t\n\f\r"
# A quoted value may contain commas.
_QUOTED = re.compile(r'data:((?:[^",]|"(?:[^"\\]|\\.)*")*),', re.IGNORECASE | re.DOTALL)
_PLAIN = re.compile(r"data:([^,]*),", re.IGNORECASE)
_BASE64 = re.compile(r"; *base64\s*\Z", re.IGNORECASE)


class BadDataUri(ValueError):
    """The text is not a data URI, or not base64."""


def is_data_uri(url: str) -> bool:
    """Return whether the scheme of a URL is `data`."""
    return url[:64].lstrip().lower().startswith("data:")


def read_data_uri(url: str) -> bytes:
    """Return the content of a data URI.

    The work is divided into slices, between which other threads can run.

    Raises:
        BadDataUri: If there is no content, or it is not valid base64.
    """
    start = len(url) - len(url.lstrip())
    head = url[start : start + _HEAD]
    found = _QUOTED.match(head) or _PLAIN.match(head)
    if found is None:
        raise BadDataUri("the data URI contains no data")
    begin, end = start + found.end(), url.find("#", start + found.end())
    decoded = _unquoted(url, begin, len(url) if end < 0 else end)
    if _BASE64.search(found[1]) is None:
        return b"".join(decoded)
    try:
        return _from_base64(decoded)
    except binascii.Error as error:
        raise BadDataUri("the data URI is not valid base64") from error


def read_base64(text: str) -> bytes:
    """Return the content of a text in base64; see `read_data_uri`.

    Raises:
        BadDataUri: If there is no content, or it is not valid base64.
    """
    pieces = (text[at : at + _SLICE] for at in range(0, len(text), _SLICE))
    try:
        found = _from_base64(piece.encode("utf-8", "replace") for piece in pieces)
    except binascii.Error as error:
        raise BadDataUri("the content is not valid base64") from error
    if not found:
        raise BadDataUri("the content is empty: send the file in base64")
    return found


def _unquoted(url: str, start: int, stop: int) -> Iterator[bytes]:
    """Yield the text between two places, with percent-encoding decoded."""
    while start < stop:
        end = start + _SLICE
        for _ in range(_SHIFTS):  # do not split %41
            end += "%" in url[end - 2 : end]
        end = min(end, stop)
        raw = url[start:end].encode("utf-8", "replace")
        yield unquote_to_bytes(raw.translate(None, b"\t\n\r"))
        start = end


def _from_base64(pieces: Iterator[bytes]) -> bytes:
    """Decode base64 as browsers do: blanks are ignored, padding may be missing.

    Raises:
        binascii.Error: If there are other characters.
    """
    found, rest, padded = bytearray(), b"", False
    for encoded in pieces:
        piece = encoded.translate(None, _BLANKS)
        bare = piece.rstrip(b"=")
        if b"=" in bare or (padded and bare):
            raise binascii.Error("characters after the padding")
        padded = padded or len(bare) < len(piece)
        rest += bare
        whole = len(rest) - len(rest) % 4
        found += binascii.a2b_base64(rest[:whole], strict_mode=True)
        rest = rest[whole:]
    if rest:
        # A single character is an error of binascii as well.
        found += binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True)
    return bytes(found)
