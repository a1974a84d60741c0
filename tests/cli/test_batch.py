"""`dreamr batch`: what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.forked import fork
from support.processes import HEAD, Started, start, until

ANSWERING = HEAD + "sys.exit(main(open_model=Pair()))\n"
SLOW = HEAD + 'sys.exit(main(open_model=Pair(target={"token_seconds": 0.02})))\n'


def write(folder: Path, count: int = 3, **more: object) -> Path:
    path = folder / "r.jsonl"
    lines = [{"id": str(number), "question": "What?", **more} for number in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(
    folder: Path, *arguments: str, start: Callable[..., Started] = fork
) -> subprocess.CompletedProcess[str]:
    line = ("batch", "r.jsonl", "--out", "a.jsonl", *arguments)
    with start(ANSWERING, *line, cwd=folder) as process:
        output, said = process.communicate(timeout=60)
    return subprocess.CompletedProcess(line, process.returncode, output, said)


def test_the_summary_has_tokens_acceptance_and_steps(tmp_path: Path) -> None:
    write(tmp_path)
    done = run(tmp_path, start=start)
    assert done.returncode == 0
    assert "3 of 3 requests, 4 at a time\n3 answered, 0 failed; " in done.stderr
    assert "tokens: draft " in done.stderr
    assert "accepted: " in done.stderr
    assert "% of the " in done.stderr
    assert "steps by the draft: 33% of 9\n" in done.stderr
    assert done.stderr.endswith("answers: a.jsonl\n")


def test_the_command_that_sends_failed_requests_again_is_printed(tmp_path: Path) -> None:
    write(tmp_path, 1, attachments="missing.png")
    for arguments in ((), ("--retry",)):
        done = run(tmp_path, *arguments)
        assert done.returncode == 1
        assert done.stderr.endswith(
            "1 of the requests failed: see a.errors.jsonl; to send them again: dreamr batch "
            "r.jsonl --out a.jsonl --retry\n"
        )


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    requests, out = write(tmp_path, 1000), tmp_path / "a.jsonl"
    with start(SLOW, "batch", requests, "--out", out) as process:
        until(lambda: process.poll() is not None or (out.exists() and out.stat().st_size > 0))
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-2:] == [
        "what is answered is kept; run the same command again to go on",
        "dreamr: interrupted",
    ]


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost"])
def test_an_address_that_is_not_one_of_redis_is_refused(url: str, tmp_path: Path) -> None:
    write(tmp_path)
    done = run(tmp_path, "--share", url)
    assert done.returncode == 2
    assert "--share must be an address of Redis" in done.stderr


def test_names_of_shared_batches_have_no_effect_alone(tmp_path: Path) -> None:
    write(tmp_path)
    assert "warning: --job has no effect without --share" in run(tmp_path, "--job", "x").stderr
