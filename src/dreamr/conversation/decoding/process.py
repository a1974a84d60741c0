"""A decoder process, seen from the process that uses it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from dreamr._messages import reason
from dreamr.conversation import errors
from dreamr.conversation.decoding.ipc import (
    CPU_SECONDS,
    MEMORY,
    MOST_OUTPUT,
    SECONDS,
    Piece,
    Request,
    receive_piece,
    send_request,
)
from dreamr.conversation.errors import (
    AttachmentError,
    AttachmentTooExpensive,
    DecoderCrashed,
    DecoderUnavailable,
)

LESS = "save a smaller copy, or choose fewer pages or frames"

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from dreamr.conversation.decoding.worker import main; main(*map(int, sys.argv[2:]))"
)
_MOST_FILES = 200  # after which a process is replaced
_EXIT_SECONDS = 5.0
# Keys, tokens and addresses of the environment do not concern a decoder.
_ENVIRONMENT = (
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "FONTCONFIG_PATH",
)


class DecoderProcess:
    """A process that reads one file after another.

    Raises:
        OSError: If it cannot be started.
    """

    def __init__(self) -> None:
        self._files, self._is_usable = 0, True
        self._link, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[3])
        arguments = [root, str(theirs.fileno()), str(os.getpid())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-B", "-c", _BOOT, *arguments],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                    start_new_session=True,
                )
        except BaseException:
            self._link.close()
            raise

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can read another file."""
        return self._is_usable and self._files < _MOST_FILES and self._process.poll() is None

    def read(self, request: Request, descriptor: int) -> list[Piece]:
        """Read a file.

        Args:
            request: What is read.
            descriptor: Descriptor of the file.

        Raises:
            AttachmentError: If it cannot be read.
        """
        self._files += 1
        self._is_usable = False  # until the file is read to its end, also after an interrupt
        deadline = time.monotonic() + SECONDS
        pieces: list[Piece] = []
        left = MOST_OUTPUT
        try:
            self._link.settimeout(SECONDS)
            send_request(self._link, request, descriptor)
            while True:
                fields, data = receive_piece(self._link, deadline, left)
                if fields.get("end"):
                    self._is_usable = fields["end"] == "kept"
                    return pieces
                if "error" in fields:
                    self._is_usable = fields.get("kept") is True
                    raise _reported(fields["error"], request.shown)
                left -= len(data)
                pieces.append((fields, data))
        except TimeoutError:
            self.kill()
            raise AttachmentTooExpensive(
                f"{request.shown} was not read within {SECONDS} s: {LESS}"
            ) from None
        except (EOFError, OSError, ValueError):  # it has ended, or writes what is not a message
            self._died(request.shown)

    def kill(self) -> None:
        """End the process at once; a read in another thread then ends with an error."""
        self._is_usable = False
        self._process.kill()

    def close(self) -> None:
        """End the process and wait for its end."""
        self._process.kill()
        self._link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a device that hangs
            self._process.wait(_EXIT_SECONDS)

    def forget(self) -> None:
        """Close the connection of a process that belongs to the parent of this one."""
        self._link.close()
        self._process.returncode = 0  # not a child of this process, and not to be waited for

    def _died(self, shown: str) -> NoReturn:
        """Raise an error that says why the process has ended."""
        try:
            status = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:  # it has not ended: what it wrote was not a message
            self.kill()
            status = self._process.wait(_EXIT_SECONDS)
            raise DecoderCrashed(_crashed(shown, "wrong output")) from None
        if status == -signal.SIGXCPU:
            raise AttachmentTooExpensive(
                f"{shown} takes more than {CPU_SECONDS} s of processor time: {LESS}"
            ) from None
        if status in (-signal.SIGABRT, -signal.SIGKILL):  # how PDFium and systems run out of it
            raise AttachmentTooExpensive(too_much_memory(shown)) from None
        what = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise DecoderCrashed(_crashed(shown, what)) from None


def too_much_memory(shown: str) -> str:
    """Return the message about a file that takes too much memory."""
    return f"{shown} takes more than {MEMORY // 10**9} GB of memory, or is damaged: {LESS}"


def _crashed(shown: str, what: str) -> str:
    return f"{shown} made the decoder crash ({what}): it is damaged, save it again"


def _reported(error: object, shown: str) -> AttachmentError:
    """Return the error that a process has reported as the name of its class and its message."""
    match error:
        case [str(name), str(message)]:
            kind = getattr(errors, name, None)
            if isinstance(kind, type) and issubclass(kind, AttachmentError):
                return kind(message)
    return DecoderCrashed(_crashed(shown, "wrong output"))


def start(shown: str) -> DecoderProcess:
    """Start a process to read a file.

    Raises:
        DecoderUnavailable: If it cannot be started.
    """
    try:
        return DecoderProcess()
    except OSError as error:
        raise DecoderUnavailable(
            f"no process can be started to read {shown} ({reason(error)}): try again later"
        ) from error
