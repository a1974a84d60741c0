"""Names of conversations for routers, and salts of their entries in a server's prefix cache."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

from dreamr.conversation import Audio, Conversation, Image
from dreamr.engines.call_labels import call_labels

_COUNTED = 1024  # forgotten conversations whose salts are kept


class Sessions:
    """The conversations of one engine."""

    def __init__(self) -> None:
        self._session = uuid4().hex
        self._salts: Counter[int] = Counter()  # times forgotten, by a conversation's hash

    def name(self, conversation: Conversation) -> str:
        """Return a name for the conversation that all its requests share.

        Later questions about the same images or sounds share it too, so that a router sends them to
        the copy of the server that has read these.
        """
        return f"{self._session[:8]}-{hash(_lasting(conversation)) & 2**64 - 1:016x}"

    def salt(self, conversation: Conversation) -> str | None:
        """Return the salt of a conversation's requests, None if they need none."""
        times, salt = self._salts[hash(conversation)], call_labels().cache_salt
        return f"{salt or self._session}-{times}" if times or salt else None

    def forget(self, conversation: Conversation) -> None:
        """Choose another salt for a conversation from now on."""
        self._salts[hash(conversation)] += 1
        if len(self._salts) > _COUNTED:
            del self._salts[next(iter(self._salts))]


def _lasting(conversation: Conversation) -> object:
    """Return the images and sounds of the first turn that has any; without, the conversation."""
    for turn in conversation.turns:
        if media := tuple(part for part in turn.parts if isinstance(part, Image | Audio)):
            return media
    return conversation
