"""A guard process: runs one engine, writes its log, and leaves no process of it.

`dreamr up` starts this file as a script for each engine, with the standard library alone:

    guard.py SOCKET GRACE LOG MOST_BYTES COMMAND...

The guard is in a session of its own, and the system makes it the parent of every process that the
engine leaves, also of those that detach. It ends all of them when SOCKET, a descriptor, is closed
by `dreamr up`, which the system does even if that process is killed: SIGTERM to the engine's group,
then to the rest, and after GRACE seconds SIGKILL. If the guard is killed itself, the system kills
the engine; its other processes are found by their environment, see `leftovers.py`.

Messages on SOCKET are JSON objects, one a line: `started` (the process id), `failed` (why the
command could not be started), `log` (why the log cannot be written), and last `exited` (the exit
status, negative for signals) with `tail`, the end of the log.

    guard.py LOG MOST_BYTES

writes standard input to a log until it ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # of linux/prctl.h
_CHUNK = 64 * 1024
_TAIL = 64 * 1024  # bytes of the log that a report of an exit holds
_SEND_SECONDS = 5.0
_LAST_SECONDS = 5.0  # for processes to end after SIGKILL
_POLL = 0.05  # seconds between two looks while processes are killed


class RotatingLog:
    """A log file of bounded size: a full one becomes LOG.1, which is replaced.

    A disk that is full costs lines, never the process.

    Args:
        path: The file; its folder exists.
        most: Largest number of bytes of the file, and of the one before.
    """

    def __init__(self, path: str, most: int) -> None:
        self._path, self._most = path, most
        self._file, self._size = -1, 0
        self.tail = b""

    def write(self, data: bytes) -> str | None:
        """Append data; return why they could not be written."""
        self.tail = (self.tail + data)[-_TAIL:]
        try:
            while data:
                part = data[: self._most]
                self._open(len(part))
                written = os.write(self._file, part)
                self._size += written
                data = data[written:]
        except OSError as error:
            return error.strerror or str(error)
        return None

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, more: int) -> None:
        if self._file >= 0 and self._size + more > self._most and self._size:
            self.close()
            os.replace(self._path, f"{self._path}.1")
        if self._file < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            self._file = os.open(self._path, flags, 0o600)
            found = os.fstat(self._file)
            self._size = found.st_size if stat.S_ISREG(found.st_mode) else 0


class Guard:
    """Runs one engine.

    Args:
        link: The socket to `dreamr up`.
        grace: Seconds between SIGTERM and SIGKILL.
        log: Log of the engine.
    """

    def __init__(self, link: socket.socket, grace: float, log: RotatingLog) -> None:
        self._link, self._grace, self._log = link, grace, log
        self._selector = selectors.DefaultSelector()
        self._engine = 0  # process id of the engine, 0 after its end
        self._output = -1
        self._deadline: float | None = None  # time of SIGKILL, None while the engine runs
        self._log_fails = False

    def run(self, command: list[str]) -> None:
        """Run the engine until it and all its processes have ended."""
        self._link.settimeout(_SEND_SECONDS)
        self._selector.register(self._link, selectors.EVENT_READ)
        self._selector.register(_signals(), selectors.EVENT_READ)
        if not self._start(command):
            return
        given_up = None
        while self._engine or children():
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                given_up = given_up or now + _LAST_SECONDS
                if now >= given_up:  # a process that waits for a device cannot be killed
                    break
                kill(children(), signal.SIGKILL)
            self._wait(now)
            self._reap()
        self._read_output()
        self._log.close()

    def _start(self, command: list[str]) -> bool:
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        libc, guard = ctypes.CDLL(None), os.getpid()

        def die_with_guard() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:
                os._exit(1)

        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            engine = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_guard,
            )
        except (OSError, ValueError) as error:
            self._send(failed=getattr(error, "strerror", None) or str(error))
            return False
        finally:
            os.close(output)
        self._engine = engine.pid
        engine.returncode = 0  # `_reap` waits for it
        self._selector.register(self._output, selectors.EVENT_READ)
        self._send(started=self._engine)
        return True

    def _wait(self, now: float) -> None:
        """Wait for data, the end of a process, or the time of SIGKILL."""
        timeout = None if self._deadline is None else max(self._deadline - now, _POLL)
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._link:
                if not self._link_data():
                    self._selector.unregister(self._link)
                    self._stop()
            elif key.fileobj == self._output:
                self._read_output()
            elif signal.SIGTERM in os.read(int(key.fd), _CHUNK):
                self._stop()

    def _link_data(self) -> bytes:
        try:
            return self._link.recv(1)
        except OSError:
            return b""

    def _stop(self) -> None:
        """Ask the engine to end; what is left of it is killed later."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace
            if self._engine:
                with suppress(OSError):
                    os.killpg(self._engine, signal.SIGTERM)

    def _reap(self) -> None:
        """Take note of processes that have ended."""
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not ended:
                return
            if ended == self._engine:
                self._engine = 0
                self._ended(os.waitstatus_to_exitcode(status))

    def _ended(self, status: int) -> None:
        """Report the end of the engine, and ask what is left of it to end."""
        self._read_output()
        self._send(exited=status, tail=self._log.tail.decode("utf-8", "replace"))
        self._stop()
        kill(children(), signal.SIGTERM)

    def _read_output(self) -> None:
        """Write to the log what the engine has written."""
        while self._output >= 0:
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._selector.unregister(self._output)
                os.close(self._output)
                self._output = -1
                return
            problem = self._log.write(data)
            if problem is not None and not self._log_fails:
                self._send(log=problem)
            self._log_fails = problem is not None

    def _send(self, **message: object) -> None:
        with suppress(OSError):
            self._link.sendall(json.dumps(message).encode() + b"\n")


def children() -> list[int]:
    """Return all processes below this one, without those that have ended."""
    below: dict[int, list[int]] = {}
    for child, parent, state in processes():
        if state not in "ZX":
            below.setdefault(parent, []).append(child)
    found, rest = [], [os.getpid()]
    while rest:
        rest += (more := below.pop(rest.pop(), []))
        found += more
    return found


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield id, parent and state of each process that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                yield int(name), int(fields[1]), fields[0].decode()


def kill(pids: list[int], number: int) -> None:
    """Send a signal to processes, as far as they are still there."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def _signals() -> int:
    """Return a descriptor from which the numbers of signals are read."""
    found, wake = os.pipe()
    for end in (found, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return found


def keep_log(path: str, most: int) -> None:
    """Write standard input to a log until it ends."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the log ends with its writer
    log = RotatingLog(path, most)
    while data := os.read(0, _CHUNK):
        log.write(data)


def main(arguments: list[str]) -> None:
    """Run what the arguments say; see above."""
    if len(arguments) == 2:
        keep_log(arguments[0], int(arguments[1]))
        return
    descriptor, grace, log, most, *command = arguments
    link = socket.socket(fileno=int(descriptor))
    link.set_inheritable(False)
    Guard(link, float(grace), RotatingLog(log, int(most))).run(command)


if __name__ == "__main__":
    main(sys.argv[1:])
