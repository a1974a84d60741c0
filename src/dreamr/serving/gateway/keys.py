"""API keys and the identity of clients."""

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
    """Read the accepted API keys from the key file or the environment.

    Returns:
        The keys; empty if the gateway is open to all clients.

    Raises:
        BadOption: If the file cannot be read or contains no key.
    """
    if options.keys_file is None:
        return listed(os.environ.get(VARIABLE))
    try:
        lines = Path(options.keys_file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadOption(
            f"cannot read --keys-file {options.keys_file}: {error.strerror or error}"
        ) from error
    except UnicodeDecodeError as error:
        raise BadOption(f"cannot read --keys-file {options.keys_file}: not UTF-8 text") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise BadOption(f"--keys-file {options.keys_file} contains no key: write one key per line")
    return keys


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
