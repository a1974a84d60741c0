"""Signals end a command in order: files written, cursor shown, and a status that names them."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from dreamr.trace import read_trace
from support.forked import fork
from support.processes import HANGING, HEAD, SEQUENTIAL, Started, environment, start

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def hanging(
    *arguments: str | Path,
    code: str = HANGING,
    start: Callable[..., Started] = fork,
    **given: object,
) -> Started:
    """Start a run, and return it when its first step is shown and the target hangs."""
    process = start(code, *SEQUENTIAL, *arguments, **given)
    assert process.stderr is not None
    assert "Tea costs 2.50." in process.stderr.readline()
    return process


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_ends_a_run_with_its_files_one_line_and_its_status(
    number: int, status: int, tmp_path: Path
) -> None:
    trace, html = tmp_path / "t.jsonl", tmp_path / "t.html"
    trace.write_text("an older trace")
    html.write_text("an older page")
    with hanging("--trace", trace, "--html", html, start=start) as process:
        assert html.read_text() == "an older page"
        process.send_signal(number)
        output, shown = process.communicate(timeout=60)
    assert process.returncode == status
    assert (output, shown.splitlines()[-1]) == ("", "dreamr: interrupted")
    assert "Traceback" not in shown
    assert len(read_trace(trace)) > 3
    assert "The run was interrupted." in html.read_text()
    assert html.read_text().endswith("</html>\n")
    assert {path.name for path in tmp_path.iterdir()} == {"t.jsonl", "t.html"}


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_counts_where_ctrl_c_is_ignored(number: int, status: int) -> None:
    # As for jobs in the background of a shell script.
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + HANGING
    with hanging(code=code) as process:
        if number == signal.SIGINT:
            process.send_signal(number)
            number, status = signal.SIGTERM, 143
        process.send_signal(number)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == status
    assert shown.splitlines()[-1] == "dreamr: interrupted"


def test_under_nohup_a_hangup_is_ignored() -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + HANGING
    with hanging(code=code) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143


ANNOUNCED = """
import sys
from support.pairs import Pair
from dreamr.cli import main

class Announced(Pair):
    async def __call__(self, source):
        print("opening", file=sys.stderr, flush=True)
        return await super().__call__(source)

sys.exit(main(open_model=Announced(target={"token_seconds": float("inf")})))
"""


COMMANDS = (
    "bench run --smoke --out OUT",
    "bench run --task docmath --limit 2 --out OUT",
    "calibrate --task docmath --problems 200 --by answers --out OUT",
    "train record --task docmath --problems 2 --out OUT",
    "train measure --task docmath --problems 2 --out OUT",
    "doctor",
)


# Every signal ends `dreamr run`, above: here each command gets one of them.
@pytest.mark.parametrize(
    ("line", "number", "status"),
    [(line, *signal) for line, signal in zip(COMMANDS, cycle(SIGNALS), strict=False)],
)
def test_a_signal_ends_every_command_that_runs_models(
    line: str, number: int, status: int, tmp_path: Path
) -> None:
    words = [word.replace("OUT", str(tmp_path / "out")) for word in line.split()]
    with fork(ANNOUNCED, *words) as process:
        assert process.stderr is not None
        while "opening" not in (shown := process.stderr.readline()):
            assert shown, "the command ended"
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == status
    assert rest.splitlines()[-1] == "dreamr: interrupted"
    assert "Traceback" not in rest
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(left) <= {"config.yaml", "samples.jsonl", "provenance.json"}


STUCK = """
import anyio, sys
from support.pairs import Pair
from dreamr.cli import main
from dreamr.engines import ScriptedEngine

async def never_closed(self):
    print("closing", file=sys.stderr, flush=True)
    with anyio.CancelScope(shield=True):
        await anyio.sleep_forever()

ScriptedEngine.aclose = never_closed
sys.exit(main(open_model=Pair(target={"token_seconds": float("inf")})))
"""


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_second_signal_ends_at_once_without_temporary_files(
    number: int, status: int, tmp_path: Path
) -> None:
    (html := tmp_path / "t.html").write_text("an older page")
    with hanging("--html", html, code=STUCK) as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        while "closing" not in (line := process.stderr.readline()):
            assert line, "the run ended"
        process.send_signal(number)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == status
    assert shown.splitlines()[-1] == "dreamr: interrupted"
    assert "Traceback" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["t.html"]
    assert html.read_text() == "an older page"


# What is left of a signal that comes just before the loop waits: nothing interrupts the waiting.
EARLY = """
import _thread, signal, sys, threading

def trip():
    sys.stdin.readline()
    _thread.interrupt_main(signal.SIGTERM)

threading.Thread(target=trip, daemon=True).start()
"""


def test_a_signal_counts_that_comes_just_before_the_loop_waits() -> None:
    with hanging(code=EARLY + STUCK, stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        while "closing" not in (line := process.stderr.readline()):
            assert line, "the run ended"
        _, shown = process.communicate("\n", timeout=20)
    assert process.returncode == 143
    assert shown.splitlines()[-1] == "dreamr: interrupted"


IMPORTING = """
import os, sys

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            print("importing", file=sys.__stderr__, flush=True)
            sys.stdin.read()

sys.meta_path.insert(0, Slow())
from dreamr.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("module", ["typer", "dreamr.cli.run", "dreamr.engines.named"])
def test_a_signal_during_imports_is_one_line(number: int, status: int, module: str) -> None:
    code = IMPORTING.format(module=module)
    with start(code, *SEQUENTIAL, stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "importing\n"
        process.send_signal(number)
        shown = process.stderr.read()
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == status
    assert shown == "dreamr: interrupted\n"


def screen_of(controller: int, until: bytes = b"") -> bytes:
    """Read a terminal until a text appears, or until all its processes have left."""
    found = b""
    deadline = time.monotonic() + 60
    while not (until and until in found) and time.monotonic() < deadline:
        if select.select([controller], [], [], 1)[0]:
            try:
                found += os.read(controller, 65536)
            except OSError:  # EIO: the other end of the terminal is closed
                break
    return found


@pytest.mark.parametrize("twice", [False, True])
def test_ctrl_c_on_a_terminal_shows_the_cursor_again(twice: bool) -> None:
    controller, terminal = pty.openpty()
    code = STUCK if twice else HANGING
    given = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    environ = environment(TERM="xterm")
    with fork(code, *SEQUENTIAL, env=environ, start_new_session=True, **given) as process:
        os.close(terminal)
        shown = screen_of(controller, b"Tea costs 2.50.")
        process.send_signal(signal.SIGINT)
        if twice:
            shown += screen_of(controller, b"closing")
            process.send_signal(signal.SIGINT)
        shown += screen_of(controller)
    os.close(controller)
    assert process.returncode == 130
    assert b"\x1b[?25l" in shown  # hidden by the spinner
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert shown.rstrip().endswith(b"dreamr: interrupted")


def test_a_terminal_that_is_closed_ends_the_run_with_its_files(tmp_path: Path) -> None:
    html = tmp_path / "t.html"
    controller, terminal = pty.openpty()
    code = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" + HANGING
    given = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    environ, line = environment(TERM="xterm"), (*SEQUENTIAL, "--html", html)
    with start(code, *line, env=environ, start_new_session=True, **given) as process:
        os.close(terminal)
        screen_of(controller, b"Tea costs 2.50.")
        os.close(controller)
        process.wait(timeout=60)
    assert process.returncode == 129
    assert "The run was interrupted." in html.read_text()


PLUGINS = {
    "on import": ("import sys; sys.exit(0)", "cannot be imported: SystemExit: 0"),
    "in a function": (
        "import sys; from dreamr.evaluation.tasks import add_task\n"
        "add_task('leaving', lambda *given: sys.exit(0))",
        "called sys.exit(0), such as a plugin",
    ),
}


@pytest.mark.parametrize(("text", "says"), PLUGINS.values(), ids=PLUGINS.keys())
def test_a_plugin_that_leaves_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    (plugin := tmp_path / "leaving.py").write_text(text)
    line = ["bench", "run", "--task", "leaving", "--plugin", str(plugin), "--out"]
    with fork(HEAD + "sys.exit(main(open_model=Pair()))", *line, tmp_path / "b") as process:
        _, shown = process.communicate(timeout=60)
    assert process.returncode in (1, 2)
    assert shown.count("\n") == 1
    assert says in shown


def test_an_interrupt_ends_with_130_one_line_and_the_trace_so_far(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    argv = [sys.executable, "-c", HANGING, *SEQUENTIAL, "--trace", str(trace)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr is not None
        first = process.stderr.readline()  # a step is committed, and the target hangs
        assert len(read_trace(trace)) > 3  # there already, whatever comes
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert "Tea costs 2.50." in first
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "dreamr: interrupted"
    assert "Traceback" not in rest
