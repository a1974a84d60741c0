"""What a decoder process may use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

from dreamr.conversation.decoding.ipc import CPU_SECONDS, MEMORY

_FILES = 64  # open at a time
_PR_SET_NO_NEW_PRIVS = 38
_GROWTH = MEMORY // 4  # of the address space, after which a process is replaced


def confine() -> None:
    """Bound this process for good, and let others have the processor first."""
    for kind, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_FSIZE, 0),  # it writes no files
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a lower limit, or none on this system
            resource.setrlimit(kind, (value, value))
    os.nice(10)
    if sys.platform == "linux":  # programs that it starts get no rights of their own
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def grant_processor_time() -> None:
    """Allow the processor time of one file in addition to what is used; SIGXCPU ends a process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def address_space() -> int:
    """Return the bytes of the address space in use; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Growth:
    """How much the address space has grown since the libraries were loaded."""

    def __init__(self) -> None:
        self._least: int | None = None

    def is_small(self) -> bool:
        """Return whether another file finds enough memory."""
        size = address_space()
        if self._least is None:
            self._least = size
        return size - self._least < _GROWTH
