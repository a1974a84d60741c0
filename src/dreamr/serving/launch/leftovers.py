"""Find and end processes of engines whose guard is gone.

Every process of an engine has a mark in its environment, which names the running pair and the
model. Processes of other users, and those that clear their environment, are not found.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import anyio

VARIABLE = "DREAMR_LAUNCHED"
_GUARD = b"guard.py"
_POLL = 0.1  # seconds between two looks
_LAST_SECONDS = 5.0  # for processes to end after SIGKILL


def mark(folder: Path, model: str) -> str:
    """Return the mark of the processes of a model.

    Args:
        folder: State folder of the running pair.
        model: Name of the model in the pair file.
    """
    return f"{folder}/{model}"


def marked(folder: Path, model: str = "") -> dict[int, bool]:
    """Return the processes with a mark, and whether each is a guard.

    Args:
        folder: State folder of the running pair.
        model: Name of the model in the pair file; all models if it is empty.
    """
    wanted = f"{VARIABLE}={mark(folder, model)}".encode()
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with suppress(OSError):
                values = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
                if any(v == wanted or (not model and v.startswith(wanted)) for v in values):
                    command = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
                    found[int(name)] = any(part.endswith(_GUARD) for part in command[:6])
    return found


async def end_leftovers(folder: Path, model: str = "", grace: float = 0.0) -> int:
    """End all processes with a mark; return how many there were.

    Args:
        folder: State folder of the running pair.
        model: Name of the model in the pair file; all models if it is empty.
        grace: Seconds in which guards may end their engines themselves.
    """
    seen: set[int] = set()
    end = anyio.current_time() + grace
    while found := marked(folder, model):
        seen |= found.keys()
        now = anyio.current_time()
        if now > end + _LAST_SECONDS:
            break
        if now > end or not any(found.values()):
            for pid in found:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        await anyio.sleep(_POLL)
    return len(seen)
