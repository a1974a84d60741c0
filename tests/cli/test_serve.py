"""`dreamr serve` as a process: it prints its address, answers, and stops without losing work."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from dreamr.cli import main
from dreamr.engines import Capabilities
from support.pairs import Pair

CODE = """
import sys
from dreamr.cli import main
from support.pairs import Pair
pair = Pair(target={"token_seconds": TOKEN})
sys.exit(main(["serve", "--port", "0", *sys.argv[1:]], open_model=pair))
"""
ASKED = {"model": "dreamr", "messages": [{"role": "user", "content": "What do they cost?"}]}


@contextmanager
def serving(*flags: str, token: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.replace("TOKEN", str(token)), *flags],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"base URL (\S+)/v1", line):
                yield process, found[1]
                break
        else:
            pytest.fail("it did not come up")
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_it_answers_until_it_is_told_to_stop() -> None:
    with serving("--method", "target") as (process, url):
        found = httpx2.post(f"{url}/v1/chat/completions", json=ASKED, timeout=20).json()
        assert found["choices"][0]["message"]["content"] == "3.70"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_requests_that_run_when_it_stops_are_finished() -> None:
    with serving("--method", "target", token=0.05) as (process, url):
        body = {**ASKED, "stream": True}
        with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=20) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGINT)
            rest = list(lines)
        assert "data: [DONE]" in rest
        assert process.wait(20) == 0


def test_a_port_in_use_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)], open_model=Pair()) == 2
    assert f"port {port}" in capsys.readouterr().err


def test_a_target_that_cannot_judge_is_refused_at_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = Pair(target={"capabilities": Capabilities(judge=False)})
    assert main(["serve", "--port", "0"], open_model=pair) == 1
    assert "cannot judge" in capsys.readouterr().err


def test_a_file_of_keys_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--keys-file", "/no/such"], open_model=Pair()) == 2
    assert "keys-file" in capsys.readouterr().err
