"""The conversations that a worker keeps, as its engine knows them."""

from __future__ import annotations

from collections import OrderedDict

from dreamr.conversation import Conversation
from dreamr.engines.local.ipc import Forget, Remember

MOST = 64  # conversations that the worker keeps
MOST_BYTES = 256 * 2**20  # of their images


class Remembered:
    """Keys of the conversations that were sent to the worker, least recently used first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Conversation, int] = OrderedDict()
        self._last = 0

    def __contains__(self, conversation: Conversation) -> bool:
        return conversation in self._keys

    def key(self, conversation: Conversation) -> tuple[int, list[Remember | Forget]]:
        """Return the key of a conversation, and what the worker must know before it is used."""
        news: list[Remember | Forget] = []
        key = self._keys.get(conversation)
        if key is None:
            self._last += 1
            key = self._keys[conversation] = self._last
            news.append(Remember(key, conversation))
            while len(self._keys) > 1 and self._too_much():
                news.append(Forget(self._keys.popitem(last=False)[1]))
        self._keys.move_to_end(conversation)
        return key, news

    def forget(self, conversation: Conversation) -> Forget | None:
        """Remove a conversation; return what the worker must know, if it has it."""
        key = self._keys.pop(conversation, None)
        return None if key is None else Forget(key)

    def _too_much(self) -> bool:
        images = (image for known in self._keys for image in known.images)
        return len(self._keys) > MOST or sum(len(image.pixels) for image in images) > MOST_BYTES
