"""Run an engine under a guard process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from dreamr.serving.launch.leftovers import VARIABLE, end_leftovers, mark

GRACE = 10.0  # seconds that an engine has to end after SIGTERM
OWN_LOG = "dreamr.log"  # of `dreamr up` in the background, in the state folder
LOG_BYTES = 8 * 2**20  # of a log file, and of the one before
_GUARD_SECONDS = 15.0  # for the guard to end, beyond the grace
_MOST_MESSAGE = 2**20  # bytes of a line of the guard
# Python's setproctitle, which vLLM uses, would overwrite the environment and with it the mark.
_KEEP_ENVIRONMENT = {"SPT_NOENV": "1"}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an engine ended.

    Attributes:
        status: Exit status, negative for a signal. None if its guard was killed, or if it could not
            be started.
        tail: End of its log.
        problem: Why it could not be started, None if it was.
    """

    status: int | None
    tail: str = ""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class GuardedRun:
    """What an engine is started with.

    Attributes:
        command: Program and arguments.
        environment: Variables that are added to those of this process.
        model: Name of the model in the pair file.
        folder: State folder of the running pair.
        grace: Seconds between SIGTERM and SIGKILL.
        log_bytes: Largest number of bytes of a log file.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    model: str
    folder: Path
    grace: float = GRACE
    log_bytes: int = LOG_BYTES

    @property
    def log(self) -> Path:
        """The log of the engine."""
        return log_of(self.folder, self.model)


def log_of(folder: Path, model: str) -> Path:
    """Return the log of a model, given the state folder of the running pair."""
    return folder / "logs" / f"{model}.log"


async def run_guarded(
    run: GuardedRun,
    started: Callable[[int], None] = lambda pid: None,
    note: Callable[[str], None] = lambda line: None,
) -> Ending:
    """Run an engine until it ends or the call is canceled; no process of it is left afterwards.

    Args:
        run: What is started.
        started: Called with the engine's process id.
        note: Called with a line on what failed.

    Raises:
        OSError: If no process can be started.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            guard = await _start_guard(run, theirs.fileno())
        reader, writer = await asyncio.open_connection(sock=ours, limit=_MOST_MESSAGE)
    except BaseException:
        ours.close()
        raise
    ending = Ending(None)
    try:
        while message := await _message(reader):
            match message:
                case {"started": int(pid)}:
                    started(pid)
                case {"log": str(why)}:
                    note(f"cannot write {run.log}: {why}; lines of its log are lost")
                case {"failed": str(why)}:
                    ending = Ending(None, problem=f"its program cannot be run ({why})")
                case {"exited": int(status), "tail": str(tail)}:
                    ending = Ending(status, tail)
    finally:
        writer.close()
        with anyio.CancelScope(shield=True):
            await _end(guard, run)
    return ending


def keep_log(log: Path) -> tuple[str, ...]:
    """Return the command that writes its standard input to a log of bounded size."""
    return (*_python(), str(log), str(LOG_BYTES))


async def _start_guard(run: GuardedRun, link: int) -> asyncio.subprocess.Process:
    arguments = (str(link), str(run.grace), str(run.log), str(run.log_bytes), *run.command)
    return await asyncio.create_subprocess_exec(
        *_python(),
        *arguments,
        pass_fds=[link],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        env={
            **os.environ,
            **_KEEP_ENVIRONMENT,
            **run.environment,
            VARIABLE: mark(run.folder, run.model),
        },
    )


def _python() -> tuple[str, ...]:
    """Return the command of the guard, which imports nothing of this installation."""
    return (sys.executable, "-I", "-S", "-B", str(Path(__file__).with_name("guard.py")))


async def _message(reader: asyncio.StreamReader) -> Any:
    """Return the next message of the guard, None if there is none."""
    with suppress(OSError, ValueError):
        if line := await reader.readline():
            return json.loads(line)
    return None


async def _end(guard: asyncio.subprocess.Process, run: GuardedRun) -> None:
    """Wait until the guard has ended all processes, or do it in its place."""
    with anyio.move_on_after(run.grace + _GUARD_SECONDS):
        if await guard.wait() == 0:
            return
    with suppress(ProcessLookupError):
        guard.kill()
    await guard.wait()
    await end_leftovers(run.folder, run.model)
