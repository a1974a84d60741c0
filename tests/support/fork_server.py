"""A process that imports the command line and forks for each program; `forked.py` starts it.

    python -c "import support.fork_server as s; exec(s.next_program(DESCRIPTOR))"

A program runs as the last statement of such a process, which then ends as every Python does. All
modules are imported already. Otherwise its state is that of a new process: its streams,
environment, folder and arguments are those of the request, and its parent is the process that sent
it.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import socket
import sys
import time
from contextlib import suppress
from types import CodeType
from typing import Any, TextIO

_MOST_BYTES = 1 << 18  # of a request
_PARENT_SECONDS = 30.0
# What commands import when they run.
_LATER = (
    "dreamr.serving.batch",
    "dreamr.serving.batch.sharing",
    "dreamr.serving.gateway",
    "dreamr.serving.store",
    "support.pairs",
    "anyio._backends._asyncio",
    "redis.asyncio",
    "typer._adapters",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)


def next_program(descriptor: int) -> CodeType:
    """Serve requests on a socket; return only in a process that was forked for one.

    The server itself exits when the socket is closed.
    """
    link = socket.socket(fileno=descriptor)
    _import()
    while True:
        data, streams, _, _ = socket.recv_fds(link, _MOST_BYTES, 3)
        if not data:
            os._exit(0)
        # The process between the two exits at once. The program's parent is then the process that
        # sent the request, a subreaper.
        between = os.fork()
        if not between:
            if os.fork():
                os._exit(0)
            return _program(json.loads(data), streams, link)
        os.waitpid(between, 0)
        for stream in streams:
            os.close(stream)


def _import() -> None:
    import dreamr.cli

    commands = pkgutil.iter_modules(dreamr.cli.__path__, "dreamr.cli.")
    for name in (*(command.name for command in commands), *_LATER):
        with suppress(ModuleNotFoundError):  # an optional library
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else each process copies the pages of all objects


def _program(request: dict[str, Any], streams: list[int], link: socket.socket) -> CodeType:
    """Make this the process of a program, and return the program."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["start_new_session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[1:] = request["arguments"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _stream(number, getattr(sys, name)))
        setattr(sys, f"__{name}__", getattr(sys, name))
    end = time.monotonic() + _PARENT_SECONDS
    while os.getppid() != request["parent"]:
        if time.monotonic() > end:
            os._exit(1)
        time.sleep(0.0005)
    link.sendall(b"%d" % os.getpid())
    link.close()
    return compile(request["code"], "<string>", "exec")


def _stream(number: int, like: TextIO) -> TextIO:
    """Open a standard stream as Python does when it starts, with the encoding of the server's."""
    binary = os.fdopen(number, "wb" if number else "rb", closefd=False)
    newline, by_line = "\n" if number else None, number == 2 or binary.isatty()
    text = io.TextIOWrapper(binary, like.encoding, like.errors, newline, by_line)
    text.mode = "w" if number else "r"  # type: ignore[misc]
    return text
