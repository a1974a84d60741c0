"""Who asks."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request

from dreamr._option_specs import BadOption, listed
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions

VARIABLE = "DREAMR_SERVE_KEYS"


def read_keys(options: ServeOptions) -> tuple[str, ...]:
    """The keys that are accepted; none where everybody is.

    Raises:
        BadOption: the file cannot be read, or has no key in it.
    """
    if options.keys_file is None:
        return listed(os.environ.get(VARIABLE))
    try:
        lines = Path(options.keys_file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"keys-file {options.keys_file} cannot be read: {error}") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise BadOption(f"keys-file {options.keys_file} has no key: put one on each line")
    return keys


class ApiKeys:
    """Tells clients apart. Keys themselves are neither kept nor shown, only their digests."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    @property
    def open(self) -> bool:
        """Whether everybody may come in."""
        return not self._digests

    def client(self, request: Request) -> str:
        """A name for who asks: by key, or by address where there are none.

        Raises:
            ApiError: 401.
        """
        if self.open:
            return request.client.host if request.client is not None else "local"
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        digest = sha256(key.strip().encode()).digest()
        # All of them, each in constant time: how long it takes says nothing.
        known = [hmac.compare_digest(digest, own) for own in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            raise ApiError(
                401,
                "the API key is missing or unknown: send it as Authorization: Bearer KEY",
                "authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return digest.hex()[:12]
