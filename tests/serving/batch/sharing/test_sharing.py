"""A batch that processes share through Redis: every request is answered once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
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
    Summary,
    read_ahead,
    read_requests,
)
from dreamr.serving.gateway.local_files import local_client
from support.attachments import png
from support.pairs import Pair
from support.redis_server import RedisServer, needs_redis

pytest.importorskip("redis")
pytestmark = [pytest.mark.anyio, needs_redis]
BOUND = 60  # seconds of a test


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as found:
        yield found


def questions(count: int) -> list[Any]:
    return [{"id": str(number), "question": "What do both cost?"} for number in range(count)]


def write(
    tmp_path: Path, server: RedisServer, lines: Sequence[Any], out: str = "a.jsonl", **more: Any
) -> BatchOptions:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {"share": server.url, "job": "j", **more}
    return BatchOptions(requests=path, out=tmp_path / out, **given)


async def answer(options: BatchOptions, pair: Pair | None = None) -> Summary:
    from dreamr.serving.batch.sharing import join

    with anyio.fail_after(BOUND):
        async with (
            join(options) as shared,
            Reasoner(RunOptions(), open_model=pair or Pair()) as reasoner,
            local_client(reasoner, options.requests.parent, 8) as client,
        ):
            return await shared.run(client)


async def alone(options: BatchOptions) -> None:
    """Answer in the same file without sharing."""
    async with (
        Reasoner(RunOptions(), open_model=Pair()) as reasoner,
        local_client(reasoner, options.requests.parent, 8) as client,
    ):
        with Journal(options) as journal:
            requests = read_ahead(read_requests(options.requests))
            await Batch(requests, client, journal, Concurrency(8)).run()


def ids(path: Path) -> list[str]:
    if not path.exists():
        return []
    return sorted(json.loads(line)["custom_id"] for line in path.read_text().splitlines())


async def answered(options: BatchOptions) -> None:
    """Wait for the first answers."""
    with anyio.fail_after(BOUND):
        while not ids(options.out):
            await anyio.lowlevel.checkpoint()


ALL = sorted(str(number) for number in range(20))


async def test_two_processes_share_the_requests_and_write_one_file(
    tmp_path: Path, server: RedisServer
) -> None:
    options = write(tmp_path, server, questions(20))
    found: list[Summary] = []

    async def process() -> None:
        found.append(await answer(options))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process)
        tasks.start_soon(process)
    assert ids(options.out) == ALL
    assert [(one.answered, one.failed) for one in found] == [(20, 0), (20, 0)]
    assert found[0].tokens == found[1].tokens
    assert not options.errors.exists()


async def test_every_process_with_a_file_of_its_own_gets_all_answers(
    tmp_path: Path, server: RedisServer
) -> None:
    first, second = (write(tmp_path, server, questions(20), out) for out in ("a.jsonl", "b.jsonl"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer, first)
        tasks.start_soon(answer, second)
    assert ids(first.out) == ids(second.out) == ALL
    assert sorted(first.out.read_text().splitlines()) == sorted(second.out.read_text().splitlines())


async def test_lines_that_cannot_be_sent_do_not_stop_the_others(
    tmp_path: Path, server: RedisServer
) -> None:
    wrong = [{"id": "nan", "messages": [], "top_p": math.nan}, {"id": "\ud83d", "question": "?"}]
    options = write(tmp_path, server, [*wrong, *questions(2)])
    found = await answer(options)
    assert (found.answered, found.failed) == (2, 2)
    assert ids(options.errors) == ["line 2", "nan"]


async def test_a_job_that_is_done_is_not_done_again(tmp_path: Path, server: RedisServer) -> None:
    options = write(tmp_path, server, questions(5))
    await answer(options)
    before = options.out.read_bytes()
    pair = Pair()
    assert (await answer(options, pair)).answered == 5
    assert options.out.read_bytes() == before
    assert pair.opened["target"].streams == 0


async def test_a_new_job_begins_with_the_answers_of_the_file(
    tmp_path: Path, server: RedisServer
) -> None:
    await alone(write(tmp_path, server, questions(15)))
    pair = Pair()
    options = write(tmp_path, server, questions(20))
    assert (await answer(options, pair)).answered == 20
    assert ids(options.out) == ALL
    other = write(tmp_path, server, questions(20), "b.jsonl")
    await answer(other)
    assert ids(other.out) == ALL


async def test_an_answer_that_is_in_the_file_twice_counts_once(
    tmp_path: Path, server: RedisServer
) -> None:
    await alone(write(tmp_path, server, questions(15)))
    options = write(tmp_path, server, questions(20))
    options.out.write_bytes(options.out.read_bytes() * 2)
    assert (await answer(options)).answered == 20
    assert sorted(set(ids(options.out))) == ALL


async def test_requests_that_failed_are_sent_again_with_retry(
    tmp_path: Path, server: RedisServer
) -> None:
    lines = [
        {"id": "late", "question": "What?", "attachments": "a.png"},
        *questions(2),
        {"id": "x"},
    ]
    options = write(tmp_path, server, lines)
    assert (await answer(options)).failed == 2
    assert ids(options.errors) == ["late", "x"]
    (tmp_path / "a.png").write_bytes(png())
    assert (await answer(options)).failed == 2
    assert ids(options.errors) == ["late", "x"]
    again = write(tmp_path, server, lines, retry=True)
    summary = await answer(again)
    assert (summary.answered, summary.failed) == (3, 1)
    assert ids(options.errors) == ["x"]
    assert ids(options.out) == ["0", "1", "late"]


async def test_a_process_with_another_file_of_requests_is_refused(
    tmp_path: Path, server: RedisServer
) -> None:
    await answer(write(tmp_path, server, questions(2)))
    with pytest.raises(BatchError, match=r"has other requests \(2, not the 3 of .*another --job"):
        await answer(write(tmp_path, server, questions(3)))


async def test_jobs_of_other_names_are_apart(tmp_path: Path, server: RedisServer) -> None:
    await answer(write(tmp_path, server, questions(2)))
    options = write(tmp_path, server, questions(3), "b.jsonl", job=None)
    assert (await answer(options)).answered == 3
    assert ids(options.out) == ["0", "1", "2"]


async def test_a_server_that_is_restarted_in_between_costs_no_answer(
    tmp_path: Path, server: RedisServer
) -> None:
    options = write(tmp_path, server, questions(20))
    pair = Pair(target={"token_seconds": 0.01})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer, options, pair)
        await answered(options)
        server.kill()
        server.start()
    assert ids(options.out) == ALL


async def test_a_server_that_comes_back_with_an_older_state_costs_no_answer(tmp_path: Path) -> None:
    lines = [*questions(20)[:16], {"id": "x"}, *questions(20)[16:]]
    found: list[Summary] = []
    with RedisServer(tmp_path, "--appendonly", "no") as server:
        options = write(tmp_path, server, lines, takeover_seconds=1)

        async def process() -> None:
            found.append(await answer(options, Pair(target={"token_seconds": 0.01})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process)
            await answered(options)
            server.value("SAVE")
            with anyio.fail_after(BOUND):
                while not options.errors.exists() or not ids(options.errors):
                    await anyio.lowlevel.checkpoint()
            server.kill()
            server.start()
    assert ids(options.out) == ALL
    assert ids(options.errors) == ["x"]
    assert [(one.answered, one.failed) for one in found] == [(20, 1)]


@pytest.mark.parametrize("command", ["FLUSHALL", "DEL dreamr:batch:{j}:answers"])
async def test_a_job_that_redis_loses_is_reported_and_goes_on_from_the_file(
    command: str, tmp_path: Path, server: RedisServer
) -> None:
    options = write(tmp_path, server, questions(20))
    errors: list[BatchError] = []

    async def process() -> None:
        try:
            await answer(options, Pair(target={"token_seconds": 0.01}))
        except BatchError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process)
        await answered(options)
        server.value(*command.split())
    (error,) = errors
    assert str(error).startswith("the job j is no longer in Redis; what is answered is kept; run")
    kept = ids(options.out)
    assert 0 < len(kept) < 20
    assert (await answer(options)).answered == 20
    assert ids(options.out) == ALL
