"""Processes that share a batch are killed at random moments: nothing is lost or answered twice."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from support.forked import fork
from support.processes import until
from support.redis_server import RedisServer, needs_redis

SCRIPT = """
import sys
from support.pairs import Pair
from dreamr.cli import main
sys.exit(main(["batch", *sys.argv[1:]], open_model=Pair(target={"token_seconds": 0.005})))
"""
REQUESTS, KILLS, SECONDS = 250, 10, 120


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def answered(out: Path, least: int, processes: Sequence[subprocess.Popen[str]]) -> bool:
    assert all(process.poll() in (None, 0) for process in processes)
    return lines(out) >= least


@needs_redis
@pytest.mark.slow
def test_two_processes_survive_ten_kills(tmp_path: Path) -> None:
    requests, out = tmp_path / "r.jsonl", tmp_path / "a.jsonl"
    requests.write_text("".join(f'{{"id": "{n}", "question": "What?"}}\n' for n in range(REQUESTS)))
    rng = random.Random(7)
    with RedisServer(tmp_path) as server:
        command = (
            requests, "--out", out, "--share", server.url,
            "--takeover-seconds", "1", "--max-concurrency", "8",
        )  # fmt: skip
        start = partial(fork, SCRIPT, *command, stdout=None)
        processes = [start(), start()]
        for _ in range(KILLS):
            most = min(lines(out) + rng.randrange(1, 35), REQUESTS - 1)
            until(partial(answered, out, most, processes), SECONDS)
            place = rng.randrange(2)
            processes[place].kill()
            processes[place].communicate()
            processes[place] = start()
        for process in processes:
            _, said = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, said
            assert f"{REQUESTS} answered, 0 failed" in said
    found = [json.loads(line)["custom_id"] for line in out.read_text().splitlines()]
    assert sorted(found, key=int) == [str(number) for number in range(REQUESTS)]
