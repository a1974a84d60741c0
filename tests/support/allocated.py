"""Memory that this process has allocated, without the cost of `tracemalloc`: thrice the time."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import NamedTuple


class Allocated(NamedTuple):
    """Memory of the objects of this process.

    Attributes:
        blocks: Number of objects and parts of objects of at most 512 bytes.
        large_bytes: Bytes of larger ones, and of libraries; 0 if the C library does not report
            them. Threads other than the main one allocate some of theirs elsewhere.
    """

    blocks: int
    large_bytes: int


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def allocated() -> Allocated:
    """Collect garbage, and return what is allocated then."""
    gc.collect()
    report = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
    large = 0
    if report is not None:
        report.restype = _Mallinfo
        found = report()
        large = found.uordblks + found.hblkhd
    return Allocated(sys.getallocatedblocks(), large)
