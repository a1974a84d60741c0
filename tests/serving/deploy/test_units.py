"""Units of systemd wait for an answer as long as their process lives."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from support.deployments import files

UNITS = [
    name
    for name in files("replicas", "systemd")
    if name.endswith(".service") and not name.endswith("-gateway.service")
]


def awaited(unit: str, curl: str, process: int) -> int:
    """Return the status of the command that waits for the answer of a unit.

    Args:
        unit: Name of the unit.
        curl: Shell command that replaces the call of curl and takes no arguments.
        process: Id of the process of the unit.
    """
    (line,) = re.findall("ExecStartPost=(.*)", files("replicas", "systemd")[unit])
    words = [word.replace("$$", "$") for word in shlex.split(line)]
    script, asked = re.subn("/usr/bin/curl [^;]*", curl, words[-1])
    script, paused = re.subn("sleep 2", ":", script)
    assert (asked, paused) == (1, 1)
    environment = {**os.environ, "MAINPID": str(process)}
    return subprocess.run([*words[:-1], script], env=environment, timeout=60).returncode


def ended() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("unit", UNITS)
def test_the_start_of_a_process_that_ends_fails_at_once(unit: str) -> None:
    assert awaited(unit, "false", ended()) != 0


def test_an_answer_is_awaited_while_the_process_lives(tmp_path: Path) -> None:
    mark = shlex.quote(str(tmp_path / "asked"))
    fails_once = f"test -e {mark} || ! touch {mark}"
    assert awaited(UNITS[0], fails_once, os.getpid()) == 0
    assert (tmp_path / "asked").exists()
