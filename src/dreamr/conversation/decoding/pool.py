"""The decoder processes of this process: started when needed, kept, and bounded in number."""

from __future__ import annotations

import atexit
import os
import threading

from dreamr.conversation.decoding.ipc import Piece, Request
from dreamr.conversation.decoding.process import DecoderProcess, start
from dreamr.conversation.errors import DecoderUnavailable

_PATIENCE = 120.0  # seconds in which a process must become free


class DecoderPool:
    """Decoder processes that threads share.

    Args:
        most: Largest number of processes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[DecoderProcess] = []
        self._taken: set[DecoderProcess] = set()
        self._starting = 0

    def take(self, shown: str) -> DecoderProcess:
        """Return a process that is free, a new one if there may be one more; else wait.

        Args:
            shown: The file in messages.

        Raises:
            DecoderUnavailable: If none becomes free, or none can be started.
        """
        with self._changed:
            if not self._changed.wait_for(self._has_room, _PATIENCE):
                raise DecoderUnavailable(
                    f"{shown} was not read: {self._most} other files are being read, and none "
                    f"was done within {_PATIENCE:g} s: try again later"
                )
            while self._idle:
                process = self._idle.pop()
                if process.is_usable:
                    self._taken.add(process)
                    return process
                process.close()
            self._starting += 1
        started = None
        try:
            started = start(shown)
            return started
        finally:
            with self._changed:
                self._starting -= 1
                if started is None:
                    self._changed.notify()
                else:
                    self._taken.add(started)

    def give(self, process: DecoderProcess) -> None:
        """Take back a process after use."""
        keep = process.is_usable
        if not keep:
            process.close()
        with self._changed:
            self._taken.discard(process)
            if keep:
                self._idle.append(process)
            self._changed.notify()

    def close(self) -> None:
        """End all processes."""
        with self._changed:
            processes = [*self._idle, *self._taken]
            self._idle.clear()
        for process in processes:
            process.close()

    def forget(self) -> None:
        """Begin without processes in a process that was forked: they belong to its parent."""
        for process in (*self._idle, *self._taken):
            process.forget()
        self._begin()

    @property
    def processes(self) -> tuple[int, ...]:
        """Ids of all processes."""
        with self._changed:
            return tuple(process.pid for process in (*self._idle, *self._taken))

    def _has_room(self) -> bool:
        return bool(self._idle) or len(self._taken) + self._starting < self._most


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


POOL = DecoderPool(_cores())
atexit.register(POOL.close)
os.register_at_fork(after_in_child=POOL.forget)


class Reading:
    """The reading of one file, which another thread can cancel."""

    def __init__(self, pool: DecoderPool | None = None) -> None:
        self._pool = POOL if pool is None else pool
        self._lock = threading.Lock()
        self._process: DecoderProcess | None = None
        self._is_canceled = False

    def result(self, request: Request, descriptor: int) -> list[Piece]:
        """Read the file and wait for it.

        Args:
            request: What is read.
            descriptor: Descriptor of the file.

        Raises:
            AttachmentError: If it cannot be read.
        """
        process = self._pool.take(request.shown)
        try:
            with self._lock:
                if self._is_canceled:
                    return []
                self._process = process
            return process.read(request, descriptor)
        finally:
            with self._lock:
                self._process = None
            self._pool.give(process)

    def cancel(self) -> None:
        """End the reading, whose result is not wanted any more."""
        with self._lock:
            self._is_canceled = True
            if self._process is not None:
                self._process.kill()
