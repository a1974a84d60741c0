"""Engines for `dreamr up` that are programs of a few lines, and waits for the end of processes."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamr.serving.launch.guarded import GuardedRun

SECONDS = 30.0  # longest wait

# A family of processes that ignore SIGTERM: the engine, a child, and a grandchild that detaches
# as daemons do. It sends its process ids to a port.
FAMILY = """
import json, os, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
found, told = os.pipe()
def stay():
    while True:
        signal.pause()
if os.fork() == 0:
    stay_pid = os.getpid()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(told, b"%d " % os.getpid())
            stay()
        os._exit(0)
    os.write(told, b"%d " % stay_pid)
    stay()
pids = b""
while pids.count(b" ") < 2:
    pids += os.read(found, 100)
print("all are there", flush=True)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as link:
    link.sendall(json.dumps([os.getpid(), *map(int, pids.split())]).encode())
stay()
"""

# A server with an address for its health, until SIGTERM.
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *given):
        pass
print("loading", flush=True)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("serving", flush=True)
server.serve_forever()
"""


def python(code: str, *arguments: object) -> tuple[str, ...]:
    """Return the command that runs a piece of Python."""
    return (sys.executable, "-S", "-c", code, *map(str, arguments))


def guarded(folder: Path, command: Iterable[str], grace: float = 0.2, **given: int) -> GuardedRun:
    """Return what runs a command under a guard, with its logs in a folder."""
    (folder / "logs").mkdir(exist_ok=True)
    return GuardedRun(tuple(command), {}, "big", folder, grace, **given)


@contextmanager
def told_pids() -> Iterator[socket.socket]:
    """Yield a listening socket to which a family of processes sends its ids."""
    with socket.create_server(("127.0.0.1", 0)) as link:
        link.settimeout(SECONDS)
        yield link


def port_of(link: socket.socket) -> int:
    """Return the port of a listening socket."""
    return int(link.getsockname()[1])


def received_pids(link: socket.socket) -> list[int]:
    """Wait for a family of processes, and return their ids."""
    connection, _ = link.accept()
    with connection, connection.makefile() as file:
        pids: list[int] = json.load(file)
    return pids


class Ends:
    """Processes whose end is waited for, also of those that are not children of this one.

    Args:
        pids: Ids of processes that are there.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._descriptors = {pid: os.pidfd_open(pid) for pid in pids}

    def wait(self) -> list[int]:
        """Wait for the end of all, and return those that are still there in the end."""
        left = []
        for pid, descriptor in self._descriptors.items():
            if not select.select([descriptor], [], [], SECONDS)[0]:
                left.append(pid)
                os.kill(pid, signal.SIGKILL)
            os.close(descriptor)
        return left
