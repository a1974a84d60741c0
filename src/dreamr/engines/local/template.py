"""Template process: imports torch and transformers once, then forks a worker for each engine.

Importing takes seconds of processor time, several times as long as loading a small model. Workers
that are forked afterwards start at once and share the memory of the libraries. Only this module
and `dreamr.engines.local.process` know about it.

The template starts no threads and uses no device, so forking it is safe. On macOS, where the
libraries must not be forked, it imports nothing and each worker imports them itself.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import NoReturn

REQUEST = b"f"  # accompanied by the descriptors of a worker's socket, stderr and status pipe
STATUS = struct.Struct("i")  # on the status pipe: the process id, and in the end the exit code
_CHECK_EVERY = 2000  # milliseconds between checks of the parent's process id


def main(descriptor: int, parent: int, threads: int | None) -> NoReturn:
    """Fork a worker for each request until the connection closes.

    Args:
        descriptor: File descriptor of a stream socket.
        parent: Process id of the process that started the template.
        threads: Torch threads of the workers; None: not limited.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit(threads)
    if sys.platform != "darwin":
        _preload()
    wakeup, written = os.pipe()
    for end in (wakeup, written):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    control = socket.socket(fileno=descriptor)
    statuses: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while os.getppid() == parent:
        ready = [found for found, _ in poll.poll(_CHECK_EVERY)]
        if wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
            _reap(statuses)
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, len(REQUEST), 3)
            if not message:
                break
            link, stderr, status = descriptors
            pid = _fork(link, stderr, [control.fileno(), wakeup, written, *statuses.values()])
            _report(status, pid)
            statuses[pid] = status
            os.close(link)
            os.close(stderr)
    os._exit(0)


def _limit(threads: int | None) -> None:
    """Set the sizes of thread pools, which are read when torch is imported."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _preload() -> None:
    """Import what workers need. What fails here fails again in the worker, with a message."""
    with contextlib.suppress(Exception):
        import dreamr.engines.local.judging
        import dreamr.engines.local.load
        import dreamr.engines.local.scheduler  # noqa: F401
    gc.freeze()  # the collector of a worker would copy the pages of these objects


def _reap(statuses: dict[int, int]) -> None:
    """Report the exit codes of workers that ended."""
    while statuses:
        pid, raw = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        status = statuses.pop(pid)
        _report(status, os.waitstatus_to_exitcode(raw))
        os.close(status)


def _report(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the engine was closed meanwhile
        os.write(status, STATUS.pack(number))


def _fork(link: int, stderr: int, inherited: list[int]) -> int:
    """Return the process id of a new worker."""
    pid = os.fork()
    if not pid:
        _run_worker(lambda: _become_worker(link, stderr, inherited))
    return pid


def _run_worker(work: Callable[[], None]) -> NoReturn:
    """Run the worker and exit; its traceback goes to stderr as that of a script."""
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _become_worker(link: int, stderr: int, inherited: list[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(stderr, 2)
    for descriptor in inherited:
        os.close(descriptor)
    from dreamr.engines.local.worker import main as serve

    serve(link, os.getppid())
