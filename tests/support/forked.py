"""Programs in forked processes, which have imported dreamr already.

Most of the time of a short `dreamr run` or `dreamr serve` is that of imports. What depends on how
Python starts, such as encodings or signals during imports, needs `processes.start`.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from support.processes import Started, environment, start

_SECONDS = 60.0
_PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
_SERVER = "import support.fork_server as s; exec(s.next_program({}))"
_OPTIONS = {"cwd", "env", "start_new_session", "stdin", "stdout", "stderr", "text"}
_NAMES = tuple(inspect.signature(subprocess.Popen._execute_child).parameters)[1:]


def fork(code: str, *arguments: str | Path, **given: Any) -> Started:
    """Run a program as `processes.start` does, but in a forked process.

    Args:
        code: The program.
        arguments: Arguments of the program.
        given: Options of `subprocess.Popen`: `cwd`, `env`, `start_new_session`, `text` and streams.
    """
    if not sys.platform.startswith("linux"):
        return start(code, *arguments, **given)
    assert set(given) <= _OPTIONS, set(given) - _OPTIONS
    return start(code, *arguments, kind=_Forked, **given)


class _Forked(Started):
    """A child of this process that a fork server has forked."""

    def _execute_child(self, *given: Any) -> None:
        """Replace the part of Popen between opening the pipes and closing the child's ends."""
        found = dict(zip(_NAMES, given, strict=True))
        _, _, code, *arguments = found["args"]
        request = {
            "code": code,
            "arguments": arguments,
            "cwd": os.path.abspath(found["cwd"] or ""),
            "env": dict(found["env"]),
            "start_new_session": found["start_new_session"],
            "parent": os.getpid(),
        }
        ends = (found["p2cread"], found["c2pwrite"], found["errwrite"])
        streams = [number if end == -1 else end for number, end in enumerate(ends)]
        self.pid = _forked(json.dumps(request).encode(), streams)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(found[name] for name in pipes))


def _forked(request: bytes, streams: list[int]) -> int:
    """Have a process forked, and return its id."""
    link, libc = _server(), ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        socket.send_fds(link, [request], streams)
        pid = link.recv(100)
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)
    assert pid, "the fork server has ended"
    return int(pid)


@cache
def _server() -> socket.socket:
    """Start the fork server, which ends with this process; return the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_SECONDS)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER.format(theirs.fileno())],
            env=environment(),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait(_SECONDS)

    atexit.register(end)
    return ours
