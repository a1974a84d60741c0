"""Prefix cache of an emulated server: blocks of tokens, least recently used first to go."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence


class PrefixCache:
    """Remembers which blocks of tokens are computed.

    Args:
        block: Tokens of a block: 16 in vLLM, some hundreds for hybrid models.
        capacity: Largest number of tokens.
    """

    def __init__(self, block: int = 16, capacity: int = 1_000_000) -> None:
        self._block, self._most = block, capacity // block
        self._known: OrderedDict[int, None] = OrderedDict()

    def cached(self, tokens: Sequence[str], salt: str = "") -> int:
        """Return how many tokens at the start are cached. The last token is always computed."""
        count = 0
        for key in self._keys(tokens[:-1], salt):
            if key not in self._known:
                break
            self._known.move_to_end(key)
            count += self._block
        return count

    def add(self, tokens: Sequence[str], salt: str = "") -> None:
        """Add the whole blocks of a sequence."""
        for key in self._keys(tokens, salt):
            self._known[key] = None
            self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def _keys(self, tokens: Sequence[str], salt: str) -> Iterator[int]:
        """Yield a key for each whole block, which covers all blocks before it."""
        key = hash(salt)
        for start in range(0, len(tokens) - self._block + 1, self._block):
            key = hash((key, *tokens[start : start + self._block]))
            yield key
