"""Settings of the C library's allocator in a worker process."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_KEPT = 128 * 2**20  # bytes of freed memory that are kept
_MAPPED = 32 * 2**20  # bytes of an allocation that gets pages of its own; the most that glibc takes


def keep_freed_memory() -> None:
    """Keep memory that a pass frees for the next one, instead of returning it to the system.

    New memory costs a page fault per 4 KiB. A pass of 260 rows has 500 of them otherwise, which
    take up to a quarter of its time. Other C libraries than glibc have no such settings, and are
    left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _MAPPED)
        mallopt(_TRIM_THRESHOLD, _KEPT)
