"""Names of conversations for routers, and salts of their entries in a server's prefix cache."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

from dreamr.conversation import Audio, Conversation, Image, Text
from dreamr.engines.call_labels import call_labels

_NAME_BYTES = 12
_COUNTED = 1024  # forgotten conversations whose salts are kept


class Sessions:
    """The conversations of one engine."""

    def __init__(self) -> None:
        self._session = uuid4().hex
        self._salts: Counter[int] = Counter()  # times forgotten, by a conversation's hash

    def name(self, conversation: Conversation) -> str:
        """Return a name for the conversation that all its requests share.

        Its later turns share it too, and other questions about the same images or sounds, so that a
        router sends them to the copy of the server that has read these. All gateways give the same
        name. If the client names a session, its name takes the place of the conversation.
        """
        named = call_labels().session
        lasting = ("session", named) if named is not None else _lasting(conversation)
        digest = hashlib.blake2b(digest_size=_NAME_BYTES)
        for part in lasting:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    def salt(self, conversation: Conversation) -> str | None:
        """Return the salt of a conversation's requests, None if they need none."""
        times, salt = self._salts[hash(conversation)], call_labels().cache_salt
        return f"{salt or self._session}-{times}" if times or salt else None

    def forget(self, conversation: Conversation) -> None:
        """Choose another salt for a conversation from now on."""
        self._salts[hash(conversation)] += 1
        if len(self._salts) > _COUNTED:
            del self._salts[next(iter(self._salts))]


def _lasting(conversation: Conversation) -> Iterator[str]:
    """Yield what later turns have in common with a conversation.

    These are the images and sounds of the first turn that has any; without, all up to the user's
    first turn.
    """
    for turn in conversation.turns:
        if media := [part.digest for part in turn.parts if isinstance(part, Image | Audio)]:
            yield from ("media", *media)
            return
    yield "text"
    for turn in conversation.turns:
        yield turn.role
        yield from (part.text for part in turn.parts if isinstance(part, Text))
        if turn.role == "user":
            return
