"""The conversations that a worker keeps, as its engine knows them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from dreamr.conversation import Conversation
from dreamr.engines.local.ipc import Forget, Remember

MOST = 64  # conversations that the worker keeps
MOST_BYTES = 256 * 2**20  # of their images

Cached: TypeAlias = tuple[Conversation, str | None]  # a conversation and a cache salt


class Remembered:
    """Keys of the conversations that were sent to the worker, least recently used first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Cached, int] = OrderedDict()
        self._last = 0

    def __contains__(self, cached: Cached) -> bool:
        return cached in self._keys

    def key(self, cached: Cached) -> tuple[int, list[Remember | Forget]]:
        """Return the key of a conversation, and what the worker must know before it is used."""
        news: list[Remember | Forget] = []
        key = self._keys.get(cached)
        if key is None:
            self._last += 1
            key = self._keys[cached] = self._last
            news.append(Remember(key, cached[0]))
            while len(self._keys) > 1 and self._too_much():
                news.append(Forget(self._keys.popitem(last=False)[1]))
        self._keys.move_to_end(cached)
        return key, news

    def forget(self, cached: Cached) -> Forget | None:
        """Remove a conversation; return what the worker must know, if it has it."""
        key = self._keys.pop(cached, None)
        return None if key is None else Forget(key)

    def _too_much(self) -> bool:
        images = (image for conversation, _ in self._keys for image in conversation.images)
        return len(self._keys) > MOST or sum(len(image.data) for image in images) > MOST_BYTES
