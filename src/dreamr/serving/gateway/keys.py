"""API keys and the identity of clients."""

from __future__ import annotations

import codecs
import hmac
import os
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request

from dreamr._api_keys import clean_key
from dreamr._messages import reason, short_path
from dreamr._option_specs import BadOption, listed
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions

VARIABLE = "DREAMR_SERVE_KEYS"
_MOST_BYTES = 2**20
_COMMENT = re.compile(r"(?:^|\s)\s*#.*")  # a # inside a key does not begin a comment


def read_keys(options: ServeOptions) -> tuple[str, ...]:
    """Read the accepted API keys from the key file or the environment.

    The file has one key per line. Blank lines and comments, which begin with #, are ignored. It may
    be written on any system: as UTF-8 or UTF-16, with or without a byte order mark.

    Returns:
        The keys, each once; empty if the gateway is open to all clients.

    Raises:
        BadOption: If the file cannot be read or contains no key, or a key has characters that a key
            cannot have.
    """
    if options.keys_file is None:
        given = listed(os.environ.get(VARIABLE))
        return _keys((VARIABLE, text) for text in given)
    name = f"--keys-file {short_path(options.keys_file)}"
    lines = _read_text(Path(options.keys_file), name).splitlines()
    keys = _keys(
        (f"{name}, line {number}", _COMMENT.sub("", line)) for number, line in enumerate(lines, 1)
    )
    if not keys:
        raise BadOption(f"{name} contains no key: write one key per line")
    return keys


def _keys(given: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the keys of places and texts, without repetitions."""
    found = (clean_key(text, place) for place, text in given)
    return tuple(dict.fromkeys(key for key in found if key is not None))


def _read_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise BadOption(f"cannot read {name}: {reason(error)}") from error
    if len(content) > _MOST_BYTES:
        raise BadOption(f"cannot read {name}: it is larger than {_MOST_BYTES // 2**20} MB")
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise BadOption(f"cannot read {name}: it is not UTF-8 text") from error


def _encoding(content: bytes) -> str:
    """Return the encoding of a text file, from its byte order mark or its NUL bytes."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in content[:2]:  # keys are ASCII, so each character has one NUL byte
        return "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    return "utf-8-sig"


class ApiKeys:
    """Authentication of clients by API key.

    Only digests of the keys are kept and shown.

    Args:
        keys: Accepted keys; if empty, all clients are accepted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    @property
    def open(self) -> bool:
        """Whether all clients are accepted."""
        return not self._digests

    def client(self, request: Request) -> str:
        """Return a name of the client: digest of its key, or its address without keys.

        Raises:
            ApiError: If the key is missing or unknown (401).
        """
        if self.open:
            return request.client.host if request.client is not None else "local"
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        digest = sha256(key.strip().encode()).digest()
        # Compare with all keys, each in constant time, so that timing reveals nothing.
        known = [hmac.compare_digest(digest, own) for own in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            raise ApiError(
                401,
                "the API key is missing or unknown: send the header Authorization: Bearer KEY",
                "authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return digest.hex()[:12]
