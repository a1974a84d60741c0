"""Starting and ending a worker process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

# Not multiprocessing: that would import the user's main module again in the worker.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from dreamr.engines.local.worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_PATIENCE = 2.0  # seconds


class WorkerProcess:
    """A worker and our end of the socket to it.

    It gets a session of its own: Ctrl-C in the terminal interrupts us alone, and we end it. Its
    standard error goes to a file without a name, for the last words of one that dies.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.link = ours
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        root = str(Path(__file__).resolve().parents[3])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, root, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        """Close the socket and see the process off; blocks for milliseconds. Idempotent."""
        self.link.close()
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._words.close()

    def epitaph(self) -> str:
        """How it ended, for an error message; call once its end of the socket is closed."""
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        if code == -signal.SIGKILL:
            return "it was killed, perhaps because memory ran out"
        if code < 0:
            return f"it died from {signal.Signals(-code).name}"
        return f"it ended with status {code}{self._last_words()}"

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()[:300]}" if lines else ""
