"""Start and end of a worker process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

# Not multiprocessing, which would import the user's main module in the worker.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from dreamr.engines.local.worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_EXIT_TIMEOUT = 2.0  # seconds


class WorkerProcess:
    """A worker process and the engine's end of its socket.

    The worker runs in its own session, so Ctrl-C in the terminal reaches only the engine's process,
    which ends the worker. The stderr of the worker goes to an unnamed file, whose last line
    `exit_reason` reports.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.link = ours
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        root = str(Path(__file__).resolve().parents[3])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, root, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def end(self) -> None:
        """Close the socket and kill the process. Blocks for milliseconds. Idempotent."""
        self.link.close()
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def exit_reason(self) -> str:
        """Describe how the process ended. Call it once the worker has closed its socket."""
        try:
            code = self._process.wait(_EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            return "the connection was closed"
        if code == -signal.SIGKILL:
            return "killed, perhaps because memory ran out"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}{self._last_line()}"

    def _last_line(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()[:300]}" if lines else ""
