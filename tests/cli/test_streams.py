"""Standard output, error and input in every state."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from dreamr.trace import RunFinished, read_trace
from dreamr.training import Records
from support.forked import fork
from support.processes import ANSWERING, HANGING, HEAD, SEQUENTIAL, environment, shell, start


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('"$@" > /dev/full', "No space left on device"),
        ('"$@" >&-', "Bad file descriptor"),
        ('"$@" 1</dev/null >&0', "Bad file descriptor"),
    ],
)
def test_an_answer_that_cannot_be_written_has_a_line_and_a_status_of_its_own(
    script: str, why: str, tmp_path: Path
) -> None:
    trace, html, record = (tmp_path / name for name in ("t.jsonl", "t.html", "r.jsonl"))
    done = shell(script, "--trace", trace, "--html", html, "--record", record)
    assert done.returncode == 74
    assert done.stderr.splitlines()[-1] == f"dreamr: cannot write the answer: {why}"
    assert "Traceback" not in done.stderr
    assert isinstance(read_trace(trace)[-1], RunFinished)
    assert html.read_text().endswith("</html>\n")
    assert len(Records([record])) == 1


def test_output_of_other_commands_fails_in_one_line_too() -> None:
    for script in ("> /dev/full", ">&-"):
        line = [sys.executable, "-m", "dreamr", "simulate", "--acceptance", "0.8"]
        done = subprocess.run(
            ["sh", "-c", f'"$@" {script}', "sh", *line],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
        )
        assert done.returncode == 74
        assert done.stderr.startswith("dreamr: cannot write to standard output: ")
        assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_ends_the_command_in_silence(tmp_path: Path) -> None:
    record = tmp_path / "r.jsonl"
    with start(ANSWERING, *SEQUENTIAL, "--record", record) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        shown = process.stderr.read()
    assert process.returncode == 141
    assert "dreamr:" not in shown
    assert "Traceback" not in shown
    assert len(Records([record])) == 1


@pytest.mark.parametrize("script", ['"$@" 2>/dev/full', '"$@" 2>&-', '"$@" 2>&1 >&3 3>&- | :'])
def test_standard_error_loses_no_answer(script: str) -> None:
    done = shell(f"{{ {script}; }} 3>&1")
    assert done.stdout == "3.70\n"
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_closed_stream_is_not_given_to_the_next_file(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    done = shell('"$@" 2>&- <&-', "--trace", trace)
    assert (done.stdout, done.returncode) == ("3.70\n", 0)
    assert isinstance(read_trace(trace)[-1], RunFinished)


@pytest.mark.parametrize("columns", ["0", "1", "-5", "many", "²", "9" * 30])
def test_no_width_in_the_environment_hides_the_steps(columns: str) -> None:
    environ = environment(COLUMNS=columns, LINES=columns)
    for arguments in ((), ("--help",)):
        with fork(ANSWERING, *SEQUENTIAL, *arguments, env=environ) as process:
            output, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert ("Answer" in output) if arguments else ("Tea costs 2.50." in said)


TEA = (
    HEAD
    + """
script = ("Tea costs 2.50.\\n\\n", "Answer: " + chr(0x8336))
sys.exit(main(open_model=Pair(target={"script": script})))
"""
)


@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "茶".encode()),
        ({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "茶".encode()),
        ({"PYTHONIOENCODING": "latin-1"}, b"\\u8336"),
        ({"PYTHONIOENCODING": "ascii"}, b"\\u8336"),
        ({"PYTHONUTF8": "1"}, "茶".encode()),
    ],
)
def test_an_answer_is_written_in_every_locale(variables: dict[str, str], answer: bytes) -> None:
    question = "茶和牛奶一共多少钱"
    line: list[str | bytes] = [sys.executable, "-c", TEA, "run", question.encode()]
    line += ["--method", "target", "--json"]
    done = subprocess.run(line, capture_output=True, env=environment(**variables), timeout=60)
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout
    assert b"Traceback" not in done.stderr
    if b"\\u" not in answer:
        assert json.loads(done.stdout)["question"] == question


def test_a_question_that_is_not_text_is_one_line() -> None:
    line: list[str | bytes] = [sys.executable, "-c", ANSWERING, "run", b"\xff\xfe\x80"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        "dreamr: the text contains half of a character (an unpaired surrogate): copy the text "
        "again\n"
    )


def test_standard_input_holds_one_file() -> None:
    done = shell('"$@" < /dev/null', "-a", "-", "-a", "-")
    assert done.returncode == 2
    assert done.stderr.startswith("dreamr: standard input holds one file: give -a - once")


def test_a_closed_standard_input_is_one_line() -> None:
    done = shell('"$@" <&-', "-a", "-")
    assert done.returncode == 1
    assert done.stderr == "dreamr: cannot read standard input: Bad file descriptor\n"


def test_an_image_is_not_awaited_from_a_terminal() -> None:
    controller, terminal = pty.openpty()
    try:
        with fork(ANSWERING, *SEQUENTIAL, "-a", "-", stdin=terminal) as process:
            _, shown = process.communicate(timeout=60)
    finally:
        os.close(controller)
        os.close(terminal)
    assert process.returncode == 1
    assert shown.startswith("dreamr: standard input is a terminal: redirect a file into it")


@pytest.mark.parametrize("arguments", [SEQUENTIAL, ("--version",)])
def test_a_reader_that_leaves_does_not_cause_a_trace_of_python(arguments: tuple[str, ...]) -> None:
    code = HANGING.replace('{"token_seconds": float("inf")}', "{}")
    argv = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        shown = process.stderr.read()
    assert process.returncode == 141
    assert shown.count("Error") == 0
    assert "Traceback" not in shown
    assert "Exception" not in shown
