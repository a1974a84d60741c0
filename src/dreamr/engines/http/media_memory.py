"""The images and sounds that a server has received, as far as is known."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import anyio

MOST_MISSES = 3  # of a file: then it is sent with every request
_MOST_KNOWN = 4096  # files


@dataclass(slots=True)
class Claim:
    """What one request does with its files.

    Attributes:
        carried: Digests of the files that it carries.
        omitted: Digests of those that the server should have.
        missed: Digests of those that an earlier attempt omitted in vain.
    """

    carried: frozenset[str]
    omitted: frozenset[str]
    missed: frozenset[str] = frozenset()
    _done: anyio.Event | None = field(default=None, repr=False)


class MediaMemory:
    """The files that one server has received.

    Of several requests with a new file, the first carries it, and the others wait until the server
    has accepted that one. Servers that are several, or that lose files, miss some. A file that was
    missed several times is carried by every request.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._misses: Counter[str] = Counter()
        self._arriving: dict[str, anyio.Event] = {}

    async def claim(self, digests: Collection[str], missed: Collection[str] = ()) -> Claim:
        """Decide which files a request carries, as soon as that is known.

        Args:
            digests: Digests of the files of the request.
            missed: Digests of those that an earlier attempt omitted in vain. All files are carried
                then.
        """
        if missed:
            return Claim(frozenset(digests), frozenset(), frozenset(missed))
        while (event := self._awaited(digests)) is not None:
            await event.wait()
        omitted = frozenset(d for d in digests if d in self._known and not self._carries(d))
        carried = frozenset(digests) - omitted
        done = anyio.Event()
        self._arriving |= {d: done for d in carried if not self._carries(d)}
        return Claim(carried, omitted, _done=done)

    def arrived(self, claim: Claim) -> None:
        """Note that the server has accepted a request."""
        self._misses.update(claim.missed)
        for digest in (*claim.carried, *claim.omitted):
            self._known[digest] = None
            self._known.move_to_end(digest)
        while len(self._known) > _MOST_KNOWN:
            self._misses.pop(self._known.popitem(last=False)[0], None)
        self.end(claim)

    def doubt(self, digests: Iterable[str]) -> None:
        """Let the next request carry files again that the server may have lost."""
        for digest in digests:
            self._known.pop(digest, None)

    def end(self, claim: Claim) -> None:
        """Let others go on that wait for the files of a request; idempotent."""
        done, claim._done = claim._done, None
        if done is not None:
            for digest in [d for d, event in self._arriving.items() if event is done]:
                del self._arriving[digest]
            done.set()

    def _carries(self, digest: str) -> bool:
        return self._misses[digest] >= MOST_MISSES

    def _awaited(self, digests: Iterable[str]) -> anyio.Event | None:
        return next((self._arriving[d] for d in digests if d in self._arriving), None)
