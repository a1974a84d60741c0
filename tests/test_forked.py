"""A program in a forked process finds and leaves what it does in a process that is started."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.forked import fork
from support.processes import Started, environment, start

STATE = """
import json, os, signal, sys, threading
print(json.dumps({
    "arguments": sys.argv,
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "parent": os.getppid(),
    "leads a session": os.getsid(0) == os.getpid(),
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "signals": {n.name: str(signal.getsignal(n)) for n in signal.valid_signals()
                if isinstance(n, signal.Signals)},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "threads": threading.active_count(),
    "streams": [[s.fileno(), s.encoding, s.errors, s.line_buffering, s.isatty(), s.mode]
                for s in (sys.stdin, sys.stdout, sys.stderr)],
    "module": __name__,
}))
"""
ENDS = {
    "a status": "import sys; sys.exit(3)",
    "a message": "import sys; sys.exit('no')",
    "an error": "print(1)\nraise ValueError('no')",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "Ctrl-C": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "its last line": "import atexit; atexit.register(print, 'later'); print('now', end='')",
    "a thread": "import threading as t, time; t.Timer(0.01, print, ('later',)).start()",
    "a full device": "import sys; sys.stdout = open('/dev/full', 'w'); print(1)",
}


def found(start: Callable[..., Started], code: str, *arguments: str, **given: Any) -> Any:
    with start(code, *arguments, **given) as process:
        output, error = process.communicate(timeout=60)
    return process.returncode, output, error


@pytest.mark.parametrize("new_session", [False, True])
def test_it_finds_the_same_state(tmp_path: Path, new_session: bool) -> None:
    given: dict[str, Any] = {"cwd": tmp_path, "start_new_session": new_session}
    given["env"] = environment(KIND="x", PYTHONIOENCODING="")
    started, forked = (
        json.loads(found(kind, STATE, "-x", "é", **given)[1]) for kind in (start, fork)
    )
    assert started["parent"] == os.getpid()
    assert forked == started


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_it_ends_in_the_same_way(code: str) -> None:
    forked, started = found(fork, code), found(start, code)
    assert forked[:2] == started[:2]
    # Between the first line and the last, a traceback has one frame more.
    assert forked[2].splitlines()[:1] == started[2].splitlines()[:1]
    assert forked[2].splitlines()[-1:] == started[2].splitlines()[-1:]


def test_it_can_be_killed_and_waited_for() -> None:
    with fork("print('up', flush=True); import signal; signal.pause()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_a_forked_copy_of_a_program_leaves_its_local_engine_alone() -> None:
    code = """
import os
from dreamr.engines.local.process import WorkerProcess

worker = WorkerProcess(1)
pid = worker.pid
if (child := os.fork()) == 0:
    worker.end()
    os._exit(0)
os.waitpid(child, 0)
os.kill(pid, 0)
print(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] in "RSD")
worker.end()
"""
    assert found(start, code)[1] == "True\n"
