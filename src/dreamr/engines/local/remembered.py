"""The conversations that a worker keeps, as its engine knows them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from dreamr.conversation import Conversation, Image
from dreamr.engines.local.ipc import Forget, Remember

MOST = 64  # conversations that the worker keeps
MOST_BYTES = 256 * 2**20  # of their images
_COUNTED = 1024  # forgotten conversations that are kept apart

Cached: TypeAlias = tuple[Conversation, str | None]  # a conversation and a cache salt


class Remembered:
    """Keys of the conversations that were sent to the worker, least recently used first.

    An image of several conversations is sent and held once. Conversations with one salt form a
    group, whose prefixes and image features are shared. One that was forgotten is computed without
    those of others, as a benchmark needs it, so it becomes a group of its own.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[Cached, int] = OrderedDict()
        self._forgotten: Counter[int] = Counter()  # times forgotten, by the hash of `Cached`
        self._last = 0

    def __contains__(self, cached: Cached) -> bool:
        return cached in self._keys

    def key(self, cached: Cached) -> tuple[int, list[Remember | Forget]]:
        """Return the key of a conversation, and what the worker must know before it is used."""
        news: list[Remember | Forget] = []
        key = self._keys.get(cached)
        if key is None:
            known = self._images()
            conversation, salt = _sharing(cached[0], known), cached[1]
            cached = conversation, salt
            self._last += 1
            key = self._keys[cached] = self._last
            news.append(Remember.of(key, conversation, self._group(cached), known))
            while len(self._keys) > 1 and self._too_much():
                news.append(Forget(self._keys.popitem(last=False)[1]))
        self._keys.move_to_end(cached)
        return key, news

    def forget(self, cached: Cached) -> Forget | None:
        """Remove a conversation; return what the worker must know, if it has it."""
        self._forgotten[hash(cached)] += 1
        if len(self._forgotten) > _COUNTED:
            del self._forgotten[next(iter(self._forgotten))]
        key = self._keys.pop(cached, None)
        return None if key is None else Forget(key)

    def _group(self, cached: Cached) -> str:
        salt, times = cached[1] or "", self._forgotten[hash(cached)]
        return f"{salt} {hash(cached)} {times}" if times else salt

    def _images(self) -> dict[str, Image]:
        """Return the images of all conversations, by digest."""
        return {image.digest: image for talk, _ in self._keys for image in talk.images}

    def _too_much(self) -> bool:
        size = sum(len(image.data) for image in self._images().values())
        return len(self._keys) > MOST or size > MOST_BYTES


def _sharing(conversation: Conversation, known: Mapping[str, Image]) -> Conversation:
    """Return a conversation that holds the images of others instead of equal ones of its own."""
    turns = (
        replace(
            turn,
            parts=tuple(
                known.get(part.digest, part) if isinstance(part, Image) else part
                for part in turn.parts
            ),
        )
        for turn in conversation.turns
    )
    return replace(conversation, turns=tuple(turns))
