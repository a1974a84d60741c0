"""A real Redis server for tests, on a socket in a folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

COMMAND = shutil.which("redis-server") or shutil.which("valkey-server")
_SECONDS = 20
_POLL = 0.005  # seconds
needs_redis = pytest.mark.skipif(
    COMMAND is None, reason="no redis-server: apt-get install redis-server"
)


class RedisServer:
    """A server that can be killed and started again with what it had stored.

    It writes each change to its file before it answers, which a kill of the process survives, and
    does not wait for the disk.

    Args:
        folder: Folder of its socket and its files.
        arguments: Further arguments.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        pytest.importorskip("redis")
        assert COMMAND is not None
        self.socket = folder / "r.sock"
        self.url = f"unix://{self.socket}"
        self._command = [
            COMMAND, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(folder),
            "--save", "", "--appendonly", "yes", "--appendfsync", "no", *arguments,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def process(self) -> int:
        """Id of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + _SECONDS
        while not self._listens():
            assert self._process.poll() is None
            assert time.monotonic() < end
            time.sleep(_POLL)

    def value(self, *command: str) -> Any:
        """Return the result of a command."""
        from redis import Redis

        with Redis.from_url(self.url) as client:
            return client.execute_command(*command)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0

    def kill(self) -> None:
        """Kill the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.socket.unlink(missing_ok=True)
