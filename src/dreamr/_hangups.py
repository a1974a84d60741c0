"""End a child process when the process that uses it closes their connection or dies."""

from __future__ import annotations

import os
import select
import threading

_CHECK_EVERY = 2000  # milliseconds between checks of the parent's process id


def exit_at_hangup(descriptor: int, parent: int) -> None:
    """End this process as soon as the other end of a socket is closed, whatever it does then.

    The parent's id is checked too, because a process that it forked may hold that end open.

    Args:
        descriptor: File descriptor of the socket.
        parent: Process id of the parent.
    """
    threading.Thread(target=_watch, args=(descriptor, parent), daemon=True).start()


def _watch(descriptor: int, parent: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)
    while not poll.poll(_CHECK_EVERY) and os.getppid() == parent:
        pass
    os._exit(0)
