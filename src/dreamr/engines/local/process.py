"""Start and end of a worker process."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from dreamr._messages import one_line
from dreamr.engines.local.bounds import FATAL
from dreamr.engines.local.template import REQUEST, STATUS
from dreamr.errors import EngineError

# Not multiprocessing, which would import the user's main module in the worker.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from dreamr.engines.local.template import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) or None)"
)
_START_TIMEOUT = 60.0  # seconds, for the import of torch
_EXIT_TIMEOUT = 2.0  # seconds


class WorkerProcess:
    """A worker process and the engine's end of its socket.

    The worker runs in its own session, so Ctrl-C in the terminal reaches only the engine's process,
    which ends the worker. The stderr of the worker goes to an unnamed file, whose last line
    `exit_reason` reports.

    Args:
        threads: Torch threads of the worker; None: not limited.

    Raises:
        EngineError: No process can be started.
    """

    def __init__(self, threads: int | None) -> None:
        self._owner = os.getpid()
        self.link, theirs = socket.socketpair()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._status, status = os.pipe()
        self._lock = threading.Lock()  # held while the status pipe is read or closed
        self._pid: int | None = None
        self._code: int | None = None
        try:
            _request_worker(threads, [theirs.fileno(), self._stderr.fileno(), status])
        except OSError as error:
            self.end()
            raise EngineError(f"cannot start a worker process: {error.strerror or error}") from None
        finally:
            theirs.close()
            os.close(status)

    @property
    def pid(self) -> int:
        """Process id of the worker, waited for; 0 if it was never started."""
        with self._lock:
            return self._started(_START_TIMEOUT)

    def end(self) -> None:
        """Close the socket and kill the process. Blocks for milliseconds. Idempotent.

        In a forked copy of the engine's process, only its copies of the descriptors are closed.
        """
        with self._lock:
            if self._status < 0:
                return
            self.link.close()
            # A worker that is not started yet finds its socket closed and exits. A readable pipe
            # holds the exit code, or the template is dead and its workers exit themselves.
            owned = os.getpid() == self._owner
            if owned and self._started(0) and self._code is None and not self._readable(0):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid or 0, signal.SIGKILL)
                self._ended(_EXIT_TIMEOUT)
            os.close(self._status)
            self._status = -1
            self._stderr.close()

    def exit_reason(self) -> str:
        """Describe how the process ended. Call it once the worker has closed its socket."""
        with self._lock:
            code = self._ended(_EXIT_TIMEOUT)
            if code is None:
                return "the connection was closed"
            if code == -signal.SIGKILL:
                return "killed, perhaps because memory ran out"
            if code == -FATAL:
                return "the model's chat template did not end: use another model"
            if code < 0:
                return f"killed by {signal.Signals(-code).name}"
            return f"exit status {code}{self._last_line()}"

    def _started(self, seconds: float) -> int:
        """Return the process id, or 0 if the worker is not started within the time."""
        if self._pid is None:
            self._pid = self._read(seconds)
        return self._pid or 0

    def _ended(self, seconds: float) -> int | None:
        """Return the exit code, or None if the process has not ended within the time."""
        if self._code is None and self._started(seconds):
            self._code = self._read(seconds)
        return self._code

    def _read(self, seconds: float) -> int | None:
        """Read a number from the status pipe; None if there is none in time, or none to come."""
        if not self._readable(seconds):
            return None
        data = os.read(self._status, STATUS.size)
        return int(STATUS.unpack(data)[0]) if data else None

    def _readable(self, seconds: float) -> bool:
        if self._status < 0:
            return False
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        return bool(poll.poll(1000 * seconds))

    def _last_line(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f": {one_line(lines[-1])}" if lines else ""


class _Template:
    """The template process of this process for a number of threads."""

    def __init__(self, threads: int | None) -> None:
        self.owner = os.getpid()
        self.control, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[3])
        arguments = [root, str(theirs.fileno()), str(self.owner), str(threads or 0)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def request(self, descriptors: list[int]) -> bool:
        """Ask for a worker. Return False if the template is dead or belongs to a forking parent."""
        if self.owner != os.getpid() or self._process.poll() is not None:
            return False
        try:
            socket.send_fds(self.control, [REQUEST], descriptors)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End the template, unless it belongs to a parent that forked this process."""
        self.control.close()
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait(_EXIT_TIMEOUT)


@atexit.register
def _close_templates() -> None:
    for template in _templates.values():
        template.close()


_templates: dict[int | None, _Template] = {}
_lock = threading.Lock()


def _request_worker(threads: int | None, descriptors: list[int]) -> None:
    """Have a worker started, and a template process if there is none.

    Args:
        threads: Torch threads of the worker; None: not limited.
        descriptors: File descriptors of the worker's socket, its stderr and its status pipe.

    Raises:
        OSError: No process can be started.
    """
    with _lock:
        template = _templates.get(threads)
        if template is not None and template.request(descriptors):
            return
        if template is not None:
            template.close()
        template = _templates[threads] = _Template(threads)
        if not template.request(descriptors):
            raise OSError("the process that starts workers ended at once")
