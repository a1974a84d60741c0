"""Whether a server is still the one that was probed.

Servers restart with other options, and a router can move an address to another model. Signs of
that are a connection that broke, a refused or failed request, and a response that names a model
not seen before. After a sign, nothing is sent until the server has been compared with what the
probe found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio

from dreamr._messages import one_line, short_path
from dreamr.engines.http.retries import TransientError
from dreamr.errors import EngineError, EngineLost

_MOST_NAMES = 64  # a server answers as a few; some routers make up a name for each request
_LONGEST_NAME = 1000  # characters that tell names apart

Check = Callable[[], Awaitable[bool]]

# Servers that the current task compares, also for those that it has started: their requests pass.
_COMPARED: ContextVar[frozenset[Identity]] = ContextVar("compared", default=frozenset())


class Identity:
    """Models that a server answers as, and signs that it is another server.

    Attributes:
        same: Whether the server was the one that was probed at the last comparison.
    """

    def __init__(self) -> None:
        self.same = True
        self._names: deque[str] = deque(maxlen=_MOST_NAMES)  # known ones, the newest last
        self._sign = False
        self._new: str | None = None
        self._check: Check | None = None
        self._changes = 0  # of options
        self._checking = anyio.Lock()
        self._comparing = False

    @property
    def compared_here(self) -> bool:
        """Whether the current task compares the server."""
        return self in _COMPARED.get()

    def settle(self, check: Check) -> None:
        """Begin to look for signs, after the probe.

        Args:
            check: Compares the server with what the probe found, and returns whether its options
                differ. Raises an error if it cannot be used any more.
        """
        self._check = check

    def doubt(self) -> None:
        """Note a connection that broke."""
        self._sign = True

    def deny(self) -> None:
        """Note that the server does not have the model any more."""
        self.same, self._sign = False, True

    def note(self, answer: object, url: str) -> None:
        """Note the model that a response names; until the probe has ended, every one is known.

        Raises:
            TransientError: If it is not known. The request is repeated after the comparison.
        """
        name = answer.get("model") if isinstance(answer, dict) else None
        if not isinstance(name, str) or not name:
            return
        name = name[:_LONGEST_NAME]
        if name in self._names:
            return
        if self._check is None:
            self._names.append(name)
        elif not self._comparing or name != self._new:
            self._sign, self._new = True, name
            shown = one_line(short_path(name))
            error = EngineError(f"{url} answered as {shown}: does it serve another model now?")
            raise TransientError(error)

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Look for signs during a request.

        Raises:
            TransientError: If a server with other options refused it.
            EngineError: See `ensure`.
        """
        await self.ensure()
        before = self._changes
        try:
            yield
        except TransientError as error:
            if not error.busy:  # maybe a new option is why it fails
                self._sign = True
            raise
        except EngineLost:
            raise
        except EngineError as error:
            if self._changes == before:
                self._sign = True
                await self.ensure()
            if self._changes != before:
                raise TransientError(error) from error
            raise

    async def ensure(self) -> None:
        """Compare the server with what the probe found if there was a sign.

        Raises:
            EngineError: If the server is another one, or cannot be reached.
        """
        if not self._sign or self._check is None or self.compared_here:
            return
        async with self._checking:
            if not self._sign:  # another task has compared
                return
            self._comparing = True
            token = _COMPARED.set(_COMPARED.get() | {self})
            try:
                self._changes += await self._check()
            except Exception:
                self.same = False
                raise
            finally:  # a canceled comparison says nothing, and the next request begins another
                _COMPARED.reset(token)
                self._comparing = False
            self.same, self._sign = True, False
            if self._new is not None:  # the same model under another name
                self._names.append(self._new)
                self._new = None
