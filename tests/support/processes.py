"""The command line as a process of its own, on scripted models."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEAD = """
import sys
from support.pairs import Pair
from dreamr.cli import main
"""
ANSWERING = HEAD + "sys.exit(main(open_model=Pair()))\n"
# The target commits one step and then writes nothing more.
HANGING = HEAD + 'sys.exit(main(open_model=Pair(target={"token_seconds": float("inf")})))\n'
QUESTION = "What do tea and milk cost together?"
_POLL = 0.005  # seconds: a loop without a pause takes a core from what is waited for
SEQUENTIAL = ("run", QUESTION, "--method", "sequential")


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which output is buffered, as it is for users."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONUNBUFFERED": "",
        **variables,
    }


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Ask again until a condition holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(_POLL)


class Started(subprocess.Popen[str]):
    """A process that ends with the block that uses it, also if a test in it fails."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def start(
    code: str, *arguments: str | Path, kind: type[Started] = Started, **given: Any
) -> Started:
    """Start a command; standard error is a pipe unless another is given."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    options = {**streams, "text": True, "env": environment(), **given}
    return kind([sys.executable, "-c", code, *map(str, arguments)], **options)


def shell(
    script: str, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which "$@" is `dreamr run` on scripted models."""
    command = [sys.executable, "-c", ANSWERING, *SEQUENTIAL, *map(str, arguments)]
    return subprocess.run(
        ["sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(**variables),
        timeout=60,
    )
