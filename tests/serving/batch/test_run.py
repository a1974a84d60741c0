"""A batch: every request is answered once, however often the process ends."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr import Reasoner, RunOptions
from dreamr.serving.batch import (
    Batch,
    BatchError,
    BatchOptions,
    Concurrency,
    Journal,
    Progress,
    Summary,
    read_ahead,
    read_requests,
)
from dreamr.serving.gateway.local_files import local_client
from support.attachments import png
from support.forked import fork
from support.pairs import Pair
from support.processes import until

pytestmark = pytest.mark.anyio


def write(tmp_path: Path, lines: Sequence[Any]) -> BatchOptions:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return BatchOptions(requests=path, out=tmp_path / "a.jsonl")


def questions(count: int) -> list[Any]:
    return [{"id": str(number), "question": "What do both cost?"} for number in range(count)]


async def answer(options: BatchOptions, pair: Pair | None = None) -> Summary:
    seen: list[Progress] = []
    async with (
        Reasoner(RunOptions(), open_model=pair or Pair()) as reasoner,
        local_client(reasoner, options.requests.parent, 8) as client,
    ):
        with Journal(options) as journal:
            requests = read_ahead(read_requests(options.requests))
            batch = Batch(requests, client, journal, Concurrency(8), on_progress=seen.append)
            summary = await batch.run()
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    return summary


def ids(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


async def test_every_request_is_answered(tmp_path: Path) -> None:
    options = write(tmp_path, questions(20))
    summary = await answer(options)
    assert sorted(ids(options.out), key=int) == [str(number) for number in range(20)]
    assert (summary.answered, summary.failed, summary.skipped) == (20, 0, 0)
    body = json.loads(options.out.read_text().splitlines()[0])["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "3.70"
    assert summary.tokens["draft"] > 0


async def test_bodies_of_every_api_are_answered_and_counted(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "What do both cost?"}]
    bodies: dict[str, Any] = {
        "/v1/chat/completions": {"messages": asked},
        "/v1/responses": {"input": "What do both cost?"},
        "/v1/completions": {"prompt": "What do both cost?"},
        "/v1/messages": {"messages": asked, "max_tokens": 99},
    }
    lines = [
        {"custom_id": url, "url": url, "body": {"model": "dreamr", **body}}
        for url, body in bodies.items()
    ]
    wrong = {"custom_id": "wrong", "url": "/v1/messages", "body": {"model": "dreamr"}}
    later = {"model": "dreamr", "input": "What do both cost?", "background": True}
    unanswered = {"custom_id": "later", "url": "/v1/responses", "body": later}
    options = write(tmp_path, [*lines, wrong, unanswered])
    summary = await answer(options)
    assert (summary.answered, summary.failed) == (4, 2)
    assert summary.steps.total() == 4 * 3
    found = [json.loads(line) for line in options.out.read_text().splitlines()]
    kinds = {one["custom_id"]: one["response"]["body"] for one in found}
    assert kinds["/v1/responses"]["output"][-1]["content"][0]["text"] == "3.70"
    assert kinds["/v1/completions"]["choices"][0]["text"] == "3.70"
    assert kinds["/v1/messages"]["content"][0]["text"] == "3.70"
    assert sorted(ids(options.errors)) == ["later", "wrong"]


async def test_keys_of_a_server_are_not_those_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMR_SERVE_KEYS", "sesame")
    summary = await answer(write(tmp_path, questions(2)))
    assert (summary.answered, summary.failed) == (2, 0)


@pytest.mark.parametrize("concurrency", [2, 4])
async def test_no_place_is_kept_free_for_other_clients(tmp_path: Path, concurrency: int) -> None:
    body = {"model": "dreamr", "messages": [{"role": "user", "content": "What do both cost?"}]}
    endless = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})
    async with (
        Reasoner(RunOptions(), open_model=endless) as reasoner,
        local_client(reasoner, tmp_path, concurrency) as client,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(concurrency):
            tasks.start_soon(partial(client.post, "/v1/chat/completions", json=body))
        await anyio.wait_all_tasks_blocked()
        metrics = (await client.get("/metrics")).text
        tasks.cancel_scope.cancel()
    assert f"num_requests_running {concurrency}.0" in metrics
    assert "num_requests_waiting 0.0" in metrics


async def test_a_second_run_answers_only_what_is_new(tmp_path: Path) -> None:
    await answer(write(tmp_path, questions(5)))
    options = write(tmp_path, questions(8))
    pair = Pair()
    summary = await answer(options, pair)
    assert (summary.answered, summary.skipped) == (3, 5)
    assert sorted(ids(options.out)) == [str(number) for number in range(8)]


async def test_attachments_are_read_beside_the_requests(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    lines = [
        {"id": "there", "question": "What?", "attachments": "a.png"},
        {"id": "missing", "question": "What?", "attachments": "b.png"},
    ]
    options = write(tmp_path, lines)
    summary = await answer(options)
    assert ids(options.out) == ["there"]
    assert ids(options.errors) == ["missing"]
    assert summary.failed == 1
    assert "there is no file" in options.errors.read_text()


async def test_invalid_lines_do_not_stop_the_others(tmp_path: Path) -> None:
    options = write(tmp_path, [{"id": "bad"}, *questions(2)])
    await answer(options)
    assert ids(options.errors) == ["bad"]
    assert sorted(ids(options.out)) == ["0", "1"]


async def test_lines_that_cannot_be_sent_do_not_stop_the_others(tmp_path: Path) -> None:
    bodies = {"nan": {"temperature": math.nan}, "half": {"user": "\ud83d"}}
    asked = [{"role": "user", "content": "What do both cost?"}]
    wrong = [{"id": name, "messages": asked, **more} for name, more in bodies.items()]
    options = write(tmp_path, [*wrong, *questions(2)])
    first, again = await answer(options), await answer(options)
    assert (first.answered, first.failed, again.skipped) == (2, 2, 4)
    assert sorted(ids(options.errors)) == ["half", "nan"]
    assert sorted(ids(options.out)) == ["0", "1"]


async def test_a_request_that_has_changed_is_not_taken_for_answered(tmp_path: Path) -> None:
    await answer(write(tmp_path, questions(1)))
    options = write(tmp_path, [{"id": "0", "question": "Something else?"}])
    with pytest.raises(BatchError, match="is not the one that was answered before"):
        await answer(options)


SCRIPT = """
import sys
from support.pairs import Pair
from dreamr.cli import main
sys.exit(main(["batch", *sys.argv[1:]], open_model=Pair()))
"""


def test_nothing_is_lost_or_done_twice_when_the_process_is_killed(tmp_path: Path) -> None:
    options = write(tmp_path, questions(200))
    command = (options.requests, "--out", options.out)
    rng = random.Random(7)
    for _ in range(10):
        with fork(SCRIPT, *command, stdout=subprocess.DEVNULL) as process:
            most = lines(options.out) + rng.randrange(1, 30)
            until(partial(ended_or_answered, process, options.out, most))
            process.send_signal(signal.SIGKILL)
    with fork(SCRIPT, *command) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert sorted(ids(options.out), key=int) == [str(number) for number in range(200)]


def ended_or_answered(process: subprocess.Popen[str], out: Path, least: int) -> bool:
    return process.poll() is not None or lines(out) >= least


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
