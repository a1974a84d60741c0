"""Requests that can be repeated: each attempt continues the one before it."""

from __future__ import annotations

import json
import logging
import re
import time
from hashlib import sha256
from typing import Literal
from uuid import uuid4
from weakref import WeakValueDictionary

import anyio.to_thread
from starlette.datastructures import Headers

from dreamr.serving.gateway.attempt_log import AttemptLog
from dreamr.serving.gateway.errors import ApiError, bad_request
from dreamr.serving.gateway.logs import log
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import NewAttempt, Store, StoreLost

HEADER = "idempotency-key"
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_MOST_BODY = 2**20  # bytes of a request that is kept
_QUICK_BYTES = 2**18  # bodies up to this size are digested in the event loop


class RequestAttempts:
    """Begins attempts at requests, with what earlier ones left in the store.

    Args:
        store: State that replicas share. Without other replicas, requests cannot be repeated.
        options: Limits of the gateway.
    """

    def __init__(self, store: Store, options: ServeOptions) -> None:
        self._store = store.attempts
        kept = float(options.stored_seconds)
        self._seconds = options.deadline + kept, kept
        self._here: WeakValueDictionary[str, AttemptLog] = WeakValueDictionary()

    @property
    def active(self) -> bool:
        """Whether requests can be repeated."""
        return self._store is not None

    def name_of(self, headers: Headers, path: str, owner: str) -> str | None:
        """Return the name of a request, None if it cannot be repeated.

        Args:
            headers: Headers of the request.
            path: Path of its endpoint.
            owner: Name of the client.

        Raises:
            ApiError: If its key is invalid (400).
        """
        key = headers.get(HEADER)
        if key is None or self._store is None:
            return None
        if not _KEY.fullmatch(key):
            raise bad_request(
                "Idempotency-Key must have 1 to 255 printable ASCII characters", "Idempotency-Key"
            )
        return sha256(f"{owner}\0{path}\0{key}".encode()).hexdigest()[:32]

    async def known(self, name: str | None, owner: str) -> bool:
        """Return whether a client has made an attempt of this name.

        Args:
            name: Name of the request, None if it cannot be repeated.
            owner: Name of the client.
        """
        if name is None or self._store is None:
            return False
        try:
            return await self._store.known(name, owner)
        except StoreLost:
            return False

    async def begin(
        self, name: str | None, owner: str, digest: str, body: bytes = b""
    ) -> AttemptLog | None:
        """Begin an attempt at a request, or continue the one before it.

        Args:
            name: Name of the request; None for a new one, without a key.
            owner: Name of the client.
            digest: Digest of the request.
            body: The request, if `resume` is to find it.

        Returns:
            None if the store is lost or has no room: then the request cannot be repeated.

        Raises:
            ApiError: If the key was used for another request (422).
        """
        about = {"created": int(time.time()), "body": body.decode()}
        new = NewAttempt(
            name or uuid4().hex, owner, uuid4().hex, digest, json.dumps(about).encode()
        )
        found = await self._begin(new)
        if found == "other":
            raise ApiError(
                422,
                "this Idempotency-Key was used for another request: repeat the same body, or use "
                "a new key",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        return found

    async def resume(self, name: str, owner: str) -> AttemptLog | None:
        """Continue the attempt at a request that was kept; return None if there is none.

        Args:
            name: Name of the request.
            owner: Name of the client.
        """
        found = await self._begin(NewAttempt(name, owner, uuid4().hex))
        return found if isinstance(found, AttemptLog) and found.body else None

    async def delete(self, name: str, owner: str) -> None:
        """Forget what attempts at a request left."""
        if self._store is not None:
            try:
                await self._store.delete(name, owner)
            except StoreLost:
                return  # it expires

    async def _begin(self, new: NewAttempt) -> AttemptLog | Literal["other"] | None:
        if self._store is None:
            return None
        try:
            found = await self._store.begin(new, self._seconds[0])
        except StoreLost:
            return None
        if isinstance(found, str):
            return "other" if found == "other" else None
        if (former := self._here.get(new.name)) is not None:
            former.lose()
        begun = AttemptLog(self._store, found, self._seconds)
        self._here[new.name] = begun
        if begun.committed:
            log(logging.INFO, "goes on after %d steps", len(begun.committed), id=new.name)
        return begun


async def digest_of(body: bytes | bytearray) -> str:
    """Return the digest of a request."""
    if len(body) <= _QUICK_BYTES:
        return sha256(body).hexdigest()
    return await anyio.to_thread.run_sync(lambda: sha256(body).hexdigest())


def kept_body(body: bytes | bytearray) -> bytes:
    """Return a body as it is kept for `resume`; nothing if it is too large."""
    return bytes(body) if len(body) <= _MOST_BODY else b""
