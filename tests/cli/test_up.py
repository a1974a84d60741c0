"""`dreamr up`, `ps`, `logs` and `down`, with servers that have scripted answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dreamr.cli import main
from dreamr.pairs.running import is_up
from dreamr.serving.launch.instance import owner
from dreamr.serving.launch.leftovers import marked
from dreamr.serving.launch.ports import free_port
from support.forked import fork
from support.launched import SECONDS, Ends
from support.pair_files import write_pair_file
from support.processes import until

SUPPORT = Path(__file__).parents[1] / "support"
PROGRAM = str(SUPPORT / "engine_program.py")
UP = "import sys; from dreamr.cli import main; sys.exit(main())"
START_SECONDS = 4 * SECONDS  # of two servers and a gateway, on a busy machine


def launch(*command: str) -> dict[str, Any]:
    """Return how a server is started."""
    return {
        "engine": "vllm",
        "model": "scripted/model",
        "devices": [],
        "command": list(command or (sys.executable, PROGRAM)),
    }


def pair_file(folder: Path, *command: str) -> Path:
    """Write a pair file with two servers that are started."""
    model = {"launch": launch(*command)}
    pairs = {"sums": {"target": "big", "draft": "small"}}
    return write_pair_file(folder, {"big": model, "small": model}, pairs)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """State folder of the pair; nothing of it may be left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "state" / "dreamr" / "small-pair"
    yield folder
    # After a failed test, it would start its engines again.
    serving = owner(folder) if is_up("small-pair") else None
    left = [*([] if serving is None else [serving]), *marked(folder)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def start(path: Path, *flags: str, doctor: bool = False) -> subprocess.Popen[str]:
    """Start `dreamr up`; with `--detach`, it starts itself as a process of its own."""
    flags = flags if doctor else ("--no-doctor", *flags)
    return fork(UP, "up", path, *flags, stderr=subprocess.STDOUT)


@contextmanager
def running_engine(port: int | None = None) -> Iterator[str]:
    """Yield the address of a server that somebody else has started."""
    port = port or free_port()
    place = ("--host", "127.0.0.1", "--port", str(port))
    command = (sys.executable, PROGRAM, "serve", "scripted/model", *place)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("Uvicorn running" in line for line in process.stderr)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Read the output of a process until a line has a text."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if wanted in line:
            return lines
    raise AssertionError("".join(lines))


def ask(state: dict[str, Any], model: str, question: str = "What is 40 + 2?") -> str:
    """Ask a gateway, and return the text of the answer."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    url = f"{state['gateway']}/v1/chat/completions"
    answer = httpx2.post(url, json=body, timeout=SECONDS, trust_env=False)
    return str(answer.json()["choices"][0]["message"]["content"])


def ps(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["ps", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_pair_in_the_background_answers_until_it_is_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pair_file(tmp_path)
    process = start(path, "--detach")
    output, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 0, output
    assert "small-pair is up" in output
    [state] = ps(capsys)
    assert state["phase"] == "serving"
    assert {one["phase"] for one in state["models"].values()} == {"ready"}
    assert ask(state, "sums") == "42"

    assert main(["run", "What is 40 + 2?", "--pair", str(path)]) == 0
    assert capsys.readouterr().out.strip() == "42"

    assert main(["up", str(path)]) == 1
    assert "small-pair is up already" in capsys.readouterr().err
    assert main(["logs", "small-pair", "big"]) == 0
    assert "Uvicorn running" in capsys.readouterr().out
    assert main(["logs", str(path), "-n", "1"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {
        "big",
        "small",
        "dreamr",
    }
    ends = Ends([state["pid"], *(one["pid"] for one in state["models"].values())])
    assert main(["down", str(path)]) == 0
    assert ends.wait() == []
    assert ps(capsys) == []
    assert main(["run", "What is 40 + 2?", "--pair", str(path)]) == 1
    assert "run dreamr up" in capsys.readouterr().err


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router on PATH."""
    program = tmp_path / "bin" / "vllm-router"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {SUPPORT}/router_program.py "$@"\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("router")
def test_replicas_answer_behind_a_router_until_the_pair_is_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"big": {"launch": launch(), "replicas": 2}, "small": {"launch": launch()}}
    pairs = {"sums": {"target": "big", "draft": "small"}, "plain": {"target": "big"}}
    path = write_pair_file(tmp_path, models, pairs)
    process = start(path, "--detach")
    output, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 0, output
    [state] = ps(capsys)
    assert {name: one["engine"] for name, one in state["models"].items()} == {
        "big.1": "vllm",
        "big.2": "vllm",
        "big": "router",
        "small": "vllm",
    }
    assert {one["phase"] for one in state["models"].values()} == {"ready"}
    assert ask(state, "sums") == "42"
    for number in range(8):  # each question is a session
        assert ask(state, "plain", f"What is 40 + 2, asked {number} times?") == "42"
    assert main(["logs", "small-pair", "big", "-n", "1000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    asked = [line.split()[0] for line in lines if "POST /v1/chat/completions" in line]
    assert set(asked) == {"big", "big.1", "big.2"}

    ends = Ends([state["pid"], *(one["pid"] for one in state["models"].values())])
    assert main(["down", "small-pair"]) == 0
    assert ends.wait() == []


@pytest.mark.usefixtures("router")
def test_servers_that_run_already_are_behind_a_router(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_engine() as first, running_engine() as second:
        models = {"big": {"url": [f"{first}/v1", f"{second}/v1"]}}
        path = write_pair_file(tmp_path, models, {"plain": {"target": "big"}})
        assert main(["run", "What is 40 + 2?", "--pair", str(path)]) == 1
        assert "run dreamr up" in capsys.readouterr().err
        process = start(path)
        read_until(process, "for clients:")
        [state] = ps(capsys)
        assert [*state["models"]] == ["big"]
        assert ask(state, "plain") == "42"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)


@pytest.mark.usefixtures("router")
def test_a_router_serves_as_soon_as_one_server_is_healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_engine() as first:
        port = free_port()
        models = {"big": {"url": [f"{first}/v1", f"http://127.0.0.1:{port}/v1"]}}
        path = write_pair_file(tmp_path, models, {"plain": {"target": "big"}})
        process = start(path)
        lines = read_until(process, "for clients:")
        missing = f"big: http://127.0.0.1:{port} is not healthy: others get its requests"
        assert missing in [line.strip() for line in lines]
        [state] = ps(capsys)
        for number in range(8):  # each question is a session
            assert ask(state, "plain", f"What is 40 + 2, asked {number} times?") == "42"
        with running_engine(port):
            read_until(process, f"big: http://127.0.0.1:{port} is healthy and gets requests")
        os.kill(state["models"]["big"]["pid"], signal.SIGKILL)
        assert f"{missing}\n" in read_until(process, "big: ready after")
        assert ask(state, "plain") == "42"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)


def test_each_pair_is_checked_and_each_model_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"launch": launch()}
    pairs = {
        "sums": {"target": "big", "draft": "small"},
        "plain": {"target": "big"},
        "quick": {"target": "small"},
    }
    path = write_pair_file(tmp_path, {"big": model, "small": model}, pairs)
    process = start(path, doctor=True)
    lines = read_until(process, "for clients:")
    checked = [line.strip() for line in lines if line.startswith("doctor: checking the ")]
    assert checked == [
        "doctor: checking the draft of sums",
        "doctor: checking the target of sums",
        "doctor: checking the target of quick",
    ]
    [state] = ps(capsys)
    assert [ask(state, name) for name in pairs] == ["42"] * 3
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)


def test_a_killed_pair_leaves_no_server_and_is_shown_as_dead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(pair_file(tmp_path))
    read_until(process, "for clients:")
    [state] = ps(capsys)
    ends = Ends(one["pid"] for one in state["models"].values())
    process.kill()
    process.communicate(timeout=SECONDS)
    assert ends.wait() == []
    assert [one["phase"] for one in ps(capsys)] == ["dead"]
    assert main(["down", "small-pair"]) == 0
    assert "had died" in capsys.readouterr().err
    assert ps(capsys) == []


def start_hanging(path: Path, folder: Path) -> subprocess.Popen[str]:
    """Start `dreamr up` with an engine that is never ready, and return it once that has begun."""
    hangs = "import signal; print('hangs', flush=True); signal.pause()"
    process = start(pair_file(path, sys.executable, "-c", hangs))
    read_until(process, "big: starting vllm on port")
    until(lambda: bool(marked(folder)) or process.poll() is not None)
    assert process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_during_the_start_leaves_no_process(
    tmp_path: Path, folder: Path, number: signal.Signals
) -> None:
    process = start_hanging(tmp_path, folder)
    ends = Ends(marked(folder))
    process.send_signal(number)
    process.communicate(timeout=SECONDS)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert ends.wait() == []


def test_a_pair_that_does_not_end_in_time_is_killed_by_down(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start_hanging(tmp_path, folder)
    ends = Ends(marked(folder))
    process.send_signal(signal.SIGSTOP)
    assert main(["down", "small-pair", "--timeout", "0.2"]) == 0
    assert "still up after 0.2 s, killing it" in capsys.readouterr().err
    process.communicate(timeout=SECONDS)
    assert ends.wait() == []


def test_the_log_of_a_server_that_starts_later_is_followed(tmp_path: Path, folder: Path) -> None:
    process = start_hanging(tmp_path, folder)
    logs = fork(UP, "logs", "small-pair", "-f", stderr=subprocess.STDOUT)
    assert read_until(logs, "hangs") == ["big   | hangs\n"]
    log = folder / "logs" / "small.log"
    assert not log.exists()  # it waits for the other server on its device
    log.write_text("begins\n")
    assert read_until(logs, "begins") == ["small | begins\n"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    logs.communicate(timeout=SECONDS)
    assert logs.returncode == 0


def test_a_server_that_runs_out_of_memory_is_one_line(tmp_path: Path) -> None:
    fails = (sys.executable, PROGRAM, "--fail", "torch.OutOfMemoryError: CUDA out of memory.")
    process = start(pair_file(tmp_path, *fails))
    output, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 1
    [line] = [line for line in output.splitlines() if line.startswith("dreamr: ")]
    assert "big (vllm) ended while starting, exit status 1: out of memory: lower 'memory'" in line


def test_an_engine_that_is_not_installed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", str(pair_file(tmp_path, "/no/such/vllm"))]) == 2
    error = capsys.readouterr().err
    assert "dreamr: model big: vllm is not installed" in error
    assert "pip install vllm" in error


def test_logs_of_a_pair_that_never_was_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "small-pair"]) == 1
    assert "small-pair has no logs: start it with dreamr up FILE" in capsys.readouterr().err


def test_no_pair_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps"]) == 0
    assert capsys.readouterr().out == "no pair is up: start one with dreamr up FILE\n"
