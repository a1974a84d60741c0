"""Numbers of prompt tokens, by conversation."""

from __future__ import annotations

from collections import OrderedDict

from dreamr.conversation import Conversation

_KEPT = 1024  # conversations


class PromptCounts:
    """Numbers of prompt tokens of the latest conversations."""

    def __init__(self) -> None:
        self._counts: OrderedDict[int, int] = OrderedDict()  # by a conversation's hash

    def get(self, conversation: Conversation) -> int | None:
        """Return the number of a conversation, None if it is not known."""
        return self._counts.get(hash(conversation))

    def keep(self, conversation: Conversation, tokens: int) -> None:
        """Keep the number of a conversation, in place of an older one."""
        self._counts[hash(conversation)] = tokens
        self._counts.move_to_end(hash(conversation))
        if len(self._counts) > _KEPT:
            self._counts.popitem(last=False)

    def clear(self) -> None:
        """Forget all numbers."""
        self._counts.clear()
