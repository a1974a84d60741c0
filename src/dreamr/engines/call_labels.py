"""Labels of the engine calls of one run: whose they are, for logs and caches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallLabels:
    """Labels of the calls of one run.

    Attributes:
        request_id: Id of the request that the run answers, for the logs of servers.
        cache_salt: Calls with different salts share no cached prompts.
        priority: Priority at servers that have priorities; lower ones are served first.
        session: Name of the client's session, which keeps its calls at one copy of a server.
    """

    request_id: str | None = None
    cache_salt: str | None = None
    priority: int = 0
    session: str | None = None


_NONE = CallLabels()
_LABELS: ContextVar[CallLabels] = ContextVar("labels of engine calls", default=_NONE)


def call_labels() -> CallLabels:
    """Return the labels of the current task, which its child tasks inherit."""
    return _LABELS.get()


@contextmanager
def labeled_calls(labels: CallLabels) -> Iterator[None]:
    """Label all engine calls of the block and of the tasks that it starts."""
    token = _LABELS.set(labels)
    try:
        yield
    finally:
        _LABELS.reset(token)
