"""Responses that further requests continue, in bounded memory."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError, shortened

_MOST = 2000  # responses of all clients
_MOST_BYTES = 128 * 2**20  # of all of them


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response that is kept.

    Attributes:
        owner: Name of the client.
        body: The response.
        history: The conversation with the answer, without instructions.
        ends: Time at which it is forgotten.
        size: About its bytes.
    """

    owner: str
    body: Mapping[str, Any]
    history: tuple[ParsedMessage, ...]
    ends: float
    size: int


class ResponseStore:
    """Keeps responses for a while. One client gets at most half of the room.

    Args:
        seconds: How long a response is kept.
        most: Number of responses.
        most_bytes: Bytes of all responses and their conversations.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        seconds: float,
        *,
        most: int = _MOST,
        most_bytes: int = _MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._most, self._most_bytes = seconds, most, most_bytes
        self._clock = clock
        self._kept: OrderedDict[str, StoredResponse] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, owner: str, body: Mapping[str, Any], history: tuple[ParsedMessage, ...]) -> None:
        """Keep a response; the oldest ones make room.

        A response that needs more than half of the room is not kept.

        Args:
            owner: Name of the client.
            body: The response.
            history: The conversation with the answer.
        """
        self._expire()
        size = len(json.dumps(body)) + sum(map(_size, history))
        if size > self._most_bytes // 2:
            return
        own = [name for name, one in self._kept.items() if one.owner == owner]
        used = sum(self._kept[name].size for name in own)
        while own and (len(own) >= self._most // 2 or used + size > self._most_bytes // 2):
            used -= self._kept.pop(own.pop(0)).size
        total = sum(one.size for one in self._kept.values())
        while self._kept and (len(self._kept) >= self._most or total + size > self._most_bytes):
            total -= self._kept.popitem(last=False)[1].size
        ends = self._clock() + self._seconds
        self._kept[body["id"]] = StoredResponse(owner, body, history, ends, size)

    def find(
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
        found = self._kept.get(name)
        if found is None or found.owner != owner or found.ends <= self._clock():
            raise ApiError(
                404 if param is None else 400,
                f"there is no response {shortened(name)}: it was not stored, or has expired",
                param=param,
                code="response_not_found" if param is None else "previous_response_not_found",
            )
        return found

    def delete(self, name: str, owner: str) -> None:
        """Forget a response.

        Args:
            name: Id of the response.
            owner: Name of the client.

        Raises:
            ApiError: If the client has none of this name (404).
        """
        self.find(name, owner, None)
        del self._kept[name]

    def _expire(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).ends <= now:
            self._kept.popitem(last=False)


def _size(turn: ParsedMessage) -> int:
    texts = [turn.reasoning, *(call.arguments for call in turn.calls)]
    for part in turn.parts:
        if isinstance(part, SentMedia):
            texts += (part.url or "", part.base64 or "")
        else:
            texts.append(part)
    return 256 + sum(map(len, texts))
