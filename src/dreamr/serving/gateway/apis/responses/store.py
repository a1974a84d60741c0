"""Responses that further requests continue, within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.content_parts import MessagePart, SentMedia
from dreamr.serving.gateway.errors import ApiError, shortened, store_lost
from dreamr.serving.store import Kind, Store, StoredRecord

_MOST = 2000  # responses of all clients
_MOST_BYTES = 128 * 2**20  # of all of them, and of all their attachments
_APART = 4096  # characters of an attachment that is kept once for all responses
_REFERENCE = "sha256:"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response that is kept.

    Attributes:
        body: The response.
        history: The conversation with the answer, without instructions.
        size: About its bytes.
    """

    body: Mapping[str, Any]
    history: tuple[ParsedMessage, ...]
    size: int


class _Content(BaseModel):
    body: dict[str, Any]
    history: tuple[ParsedMessage, ...]


class ResponseStore:
    """Keeps responses for a while. One client gets at most half of the room.

    Attachments are kept once for each client, by their digest: each response of a conversation has
    all of them.

    Args:
        store: Where they are kept.
        seconds: How long a response is kept.
        most: Number of responses.
        most_bytes: Bytes of all responses and their conversations.
    """

    def __init__(
        self, store: Store, seconds: float, *, most: int = _MOST, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._store, self._records, self._seconds = store, store.records, seconds
        self._kind = Kind("response", most, most_bytes)
        self._media = Kind("media", 4 * most, most_bytes)

    async def keep(
        self, owner: str, body: Mapping[str, Any], history: tuple[ParsedMessage, ...]
    ) -> None:
        """Keep a response; the oldest ones make room.

        A response that needs more than half of the room is not kept.

        Args:
            owner: Name of the client.
            body: The response.
            history: The conversation with the answer.
        """
        apart: dict[str, str] = {}
        short = tuple(_shortened(turn, owner, apart) for turn in history)
        content = _Content(body=dict(body), history=short).model_dump_json().encode()
        for digest, text in apart.items():
            if await self._records.touch(self._media, digest, owner, self._seconds):
                continue
            media = StoredRecord(digest, owner, text.encode("utf-8", "surrogatepass"))
            if not await self._records.put(self._media, media, self._seconds, len(media.content)):
                return
        record = StoredRecord(body["id"], owner, content)
        await self._records.put(self._kind, record, self._seconds, len(content))

    async def find(
        self, name: str, owner: str, param: str | None = "previous_response_id"
    ) -> StoredResponse:
        """Return a response.

        Args:
            name: Id of the response.
            owner: Name of the client.
            param: Field of the request that names it; None if the path does.

        Raises:
            ApiError: If the client has none of this name: 400 for a field, else 404.
        """
        record = await self._records.get(self._kind, name, owner)
        if record is None:
            raise self._missing(name, param)
        found = _Content.model_validate_json(record.content)
        texts = {digest: "" for turn in found.history for digest in _references(turn)}
        for digest in texts:
            media = await self._records.get(self._media, digest, owner)
            if media is None:
                raise self._missing(name, param)
            texts[digest] = media.content.decode("utf-8", "surrogatepass")
        history = tuple(_completed(turn, texts) for turn in found.history)
        size = len(record.content) + sum(map(len, texts.values()))
        return StoredResponse(found.body, history, size)

    async def delete(self, name: str, owner: str) -> None:
        """Forget a response.

        Args:
            name: Id of the response.
            owner: Name of the client.

        Raises:
            ApiError: If the client has none of this name (404).
        """
        if not await self._records.delete(self._kind, name, owner):
            raise self._missing(name, None)

    def _missing(self, name: str, param: str | None) -> ApiError:
        if self._store.lost:
            return store_lost(f"the response {shortened(name)}", param)
        return ApiError(
            404 if param is None else 400,
            f"there is no response {shortened(name)}: it was not stored, or has expired",
            param=param,
            code="response_not_found" if param is None else "previous_response_not_found",
        )


def _shortened(turn: ParsedMessage, owner: str, apart: dict[str, str]) -> ParsedMessage:
    """Return a turn with references to its attachments, which are added to `apart`."""

    def part(one: MessagePart) -> MessagePart:
        if isinstance(one, str):
            return one
        text = one.base64 or one.url or ""
        if len(text) <= _APART:
            return one
        named = f"{owner}\0{text}"  # names of records are unique across clients
        digest = sha256(named.encode("utf-8", "surrogatepass")).hexdigest()
        apart[digest] = text
        name = _REFERENCE + digest
        return replace(one, base64=name) if one.base64 else replace(one, url=name)

    return replace(turn, parts=tuple(map(part, turn.parts)))


def _references(turn: ParsedMessage) -> Iterator[str]:
    """Yield the digests of the attachments of a turn that are kept apart."""
    for part in turn.parts:
        if isinstance(part, SentMedia):
            text = part.base64 or part.url or ""
            if text.startswith(_REFERENCE):
                yield text.removeprefix(_REFERENCE)


def _completed(turn: ParsedMessage, texts: Mapping[str, str]) -> ParsedMessage:
    """Return a turn with its attachments."""

    def part(one: MessagePart) -> MessagePart:
        if isinstance(one, SentMedia):
            if one.base64 and one.base64.startswith(_REFERENCE):
                return replace(one, base64=texts[one.base64.removeprefix(_REFERENCE)])
            if one.url and one.url.startswith(_REFERENCE):
                return replace(one, url=texts[one.url.removeprefix(_REFERENCE)])
        return one

    return replace(turn, parts=tuple(map(part, turn.parts)))
