"""Ports of this machine: free ones, and who listens on the others."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"  # where engines listen
_LISTENS = "0A"  # state in /proc/net/tcp


def free_port(taken: Iterable[int] = ()) -> int:
    """Return a port on which nothing listens.

    Args:
        taken: Ports that are not returned.
    """
    while True:
        with socket.socket() as found:
            found.bind((HOST, 0))
            port = int(found.getsockname()[1])
        if port not in taken:
            return port


def is_free(port: int, host: str = HOST) -> bool:
    """Return whether a server can listen on a port, by default an engine."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as error:
            return error.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True


def listener(port: int) -> str:
    """Return which process listens on a port, for a message."""
    sockets = set(_sockets(port))
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):  # it has ended, or belongs to another user
                folder = Path("/proc", name)
                links = (os.readlink(link) for link in (folder / "fd").iterdir())
                if any(link in sockets for link in links):
                    return f"process {name} ({(folder / 'comm').read_text().strip()})"
    return "another process"


def _sockets(port: int) -> Iterator[str]:
    """Yield the sockets that listen on a port, as the links of their descriptors show them."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _LISTENS:
                    yield f"socket:[{fields[9]}]"
