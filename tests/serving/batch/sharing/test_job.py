"""A shared job: who holds a request, and whose answer counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr.serving.batch import BatchError
from dreamr.serving.batch.lines import answer_line, error_line
from support.redis_server import RedisServer, needs_redis

sharing = pytest.importorskip("dreamr.serving.batch.sharing")
scripts = pytest.importorskip("dreamr.serving.batch.sharing.scripts")
Redis = pytest.importorskip("redis.asyncio").Redis
pytestmark = [pytest.mark.anyio, needs_redis]
START = b"0-0"
NEVER = 3600.0
SOON = 0.3  # seconds; nothing that lives holds a request meanwhile


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as found:
        yield found


@asynccontextmanager
async def jobs(
    server: RedisServer, tmp_path: Path, count: int = 2, requests: int = 3, takeover: float = NEVER
) -> AsyncIterator[list[sharing.SharedJob]]:
    """Yield the parts of several processes in one job."""
    path = tmp_path / "r.jsonl"
    path.write_text("".join(f'{{"id": {number}, "question": "?"}}\n' for number in range(requests)))
    with anyio.fail_after(30):
        async with sharing.connect(server.url) as link:
            found = [sharing.SharedJob(link, "j", path, takeover) for _ in range(count)]
            for job in found:
                await job.create("d", requests, range(requests), iter(()))
            yield found


async def take(job: sharing.SharedJob) -> str:
    requests = job.requests()
    request = await anext(requests)
    await requests.aclose()
    return str(request.custom_id)


def line(name: str, text: str = "") -> bytes:
    return answer_line(name, "d", {"id": text})


async def answers(job: sharing.SharedJob) -> list[str]:
    page = await job.read(START, START)
    return [json.loads(one)["response"]["body"]["id"] for _, one in page.answers]


async def test_each_request_goes_to_one_process(server: RedisServer, tmp_path: Path) -> None:
    async with jobs(server, tmp_path) as (first, second):
        assert [await take(first), await take(second), await take(first)] == ["0", "1", "2"]


async def test_processes_that_create_a_job_together_create_one(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, count=1) as (job,):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(job.create, "d", 3, range(3), iter(()))
        assert [await take(job) for _ in range(3)] == ["0", "1", "2"]
        assert (await job.read(START, START)).total == 3


async def test_a_silent_process_loses_its_requests_and_a_living_one_keeps_them(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, count=3, requests=2, takeover=1.0) as (dead, alive, other):
        await take(dead)
        async with anyio.create_task_group() as tasks:
            await take(alive)
            tasks.start_soon(alive.hold)
            assert await take(other) == "0"
            with anyio.move_on_after(1.5) as limit:
                tasks.start_soon(other.hold)
                await take(other)
            assert limit.cancelled_caught
            tasks.cancel_scope.cancel()


async def test_a_process_does_not_take_over_the_requests_that_it_holds(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, count=3, requests=3, takeover=30) as (alive, dead, other):
        assert [await take(alive), await take(alive), await take(dead)] == ["0", "1", "2"]
        for process in (alive, dead):
            await process._hold(process.process, 60_000)  # as after a minute without Redis
        assert await take(alive) == "2"
        assert await take(other) == "0", "others cannot know that it lives"


async def test_a_request_whose_processes_die_is_an_error_after_three_takeovers(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, count=5, requests=1, takeover=0.2) as (*dead, last):
        for process in dead:
            await take(process)
        assert [request async for request in last.requests()] == []
        ((_, error),) = (await last.read(START, START)).errors
        assert json.loads(error)["custom_id"] == "0"
        assert json.loads(error)["error"]["code"] == "too_many_takeovers"
        assert "4 processes ended" in json.loads(error)["error"]["message"]
        await last.retry()
        assert await take(last) == "0"


async def test_the_last_takeover_is_of_a_process_that_holds_nothing_else(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, count=4, requests=2, takeover=1.0) as (*dead, last):
        for process in dead:
            assert {await take(process), await take(process)} == {"0", "1"}
        requests = last.requests()
        assert (await anext(requests)).custom_id == "0"
        with anyio.move_on_after(0.5) as limit:
            await last.hold()
        assert limit.cancelled_caught
        async with anyio.create_task_group() as tasks:
            seen: list[str] = []

            async def go_on() -> None:
                seen.append((await anext(requests)).custom_id)

            tasks.start_soon(go_on)
            await anyio.wait_all_tasks_blocked()
            assert (seen, list(last._held)) == ([], ["0"])
            await last.add_answer("0", "d", line("0"))
        assert seen == ["1"]
        await requests.aclose()


async def test_a_process_that_holds_another_request_is_not_the_last_to_take_one_over(
    server: RedisServer, tmp_path: Path
) -> None:
    async with (
        jobs(server, tmp_path, count=4, requests=2, takeover=1.0) as (busy, *dead),
        anyio.create_task_group() as tasks,
    ):
        assert await take(busy) == "0"
        tasks.start_soon(busy.hold)
        for process in dead:
            assert await take(process) == "1"
        with anyio.move_on_after(1.5) as limit:
            await take(busy)
        assert limit.cancelled_caught
        await busy.add_answer("0", "d", line("0"))
        assert await take(busy) == "1"
        tasks.cancel_scope.cancel()


async def test_what_is_given_back_often_is_no_error(server: RedisServer, tmp_path: Path) -> None:
    async with jobs(server, tmp_path, count=6, requests=1) as processes:
        for process in processes:
            assert await take(process) == "0"
            await process.give_back()
        assert (await processes[0].read(START, START)).failed == 0


async def test_of_two_answers_the_first_counts(server: RedisServer, tmp_path: Path) -> None:
    async with jobs(server, tmp_path, requests=1, takeover=SOON) as (slow, quick):
        await take(slow)
        await take(quick)
        await quick.add_answer("0", "d", line("0", "quick"))
        await slow.add_answer("0", "d", line("0", "slow"))
        assert await answers(quick) == ["quick"]


async def test_what_a_process_gives_back_is_taken_at_once(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, requests=1) as (leaving, other):
        await take(leaving)
        await leaving.give_back()
        assert await take(other) == "0"


async def test_a_process_gives_back_nothing_that_another_holds(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, requests=1, takeover=SOON) as (silent, other):
        await take(silent)
        await take(other)
        await silent.give_back()
        third = sharing.SharedJob(other.link, "j", other.path, NEVER)
        with anyio.move_on_after(0.5) as limit:
            await take(third)
        assert limit.cancelled_caught


async def test_requests_end_when_all_are_done(server: RedisServer, tmp_path: Path) -> None:
    async with jobs(server, tmp_path) as (first, second):
        async for request in first.requests():
            if request.custom_id == "1":
                await first.add_error("1", error_line("1", "d", "c", "m", 400))
            else:
                await first.add_answer(request.custom_id, "d", line(request.custom_id))
        assert [request async for request in second.requests()] == []
        page = await second.read(START, START)
        assert (page.answered, page.failed, page.is_done) == (2, 1, True)


async def test_errors_are_sent_again_and_counted_as_another_round(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, requests=1) as (job, other):
        await take(job)
        await job.add_error("0", error_line("0", "d", "c", "m", 400))
        before = await job.read(START, START)
        await job.retry()
        after = await job.read(START, START)
        assert (before.failed, before.is_done) == (1, True)
        assert (after.failed, after.is_done, after.round) == (0, False, before.round + 1)
        assert await take(other) == "0"


async def test_a_name_with_any_characters_is_a_name(server: RedisServer, tmp_path: Path) -> None:
    async with jobs(server, tmp_path) as (job, _):
        odd = sharing.SharedJob(job.link, "a{b}:ü *", job.path, NEVER)
        assert not await odd.find("d", 3)
        await odd.create("d", 3, range(3), iter(()))
        assert await odd.find("d", 3)
        assert await take(odd) == "0"


async def test_lines_are_read_page_by_page(server: RedisServer, tmp_path: Path) -> None:
    async with jobs(server, tmp_path, requests=150) as (job, _):
        async for request in job.requests():
            await job.add_answer(request.custom_id, "d", line(request.custom_id))
        last, found = START, 0
        while page := (await job.read(last, START)).answers:
            last, found = page[-1][0], found + len(page)
        assert found == 150


class Measuring:
    """A link that notes the sizes of the pages that it gets."""

    def __init__(self, link: Any) -> None:
        self._link, self.sizes = link, []

    async def run(self, script: str, keys: list[str], *given: Any) -> Any:
        found = await self._link.run(script, keys, *given)
        if script == scripts.READ:
            lines = [fields[3] for stream in found[5:] for _, fields in stream]
            self.sizes.append(sum(map(len, lines)))
        return found


async def test_pages_of_long_lines_are_bounded_in_bytes(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, count=1, requests=64) as (job,):
        async for request in job.requests():
            name = request.custom_id
            await job.add_answer(name, "d", line(name, name.ljust(2**16)))
        job.link = link = Measuring(job.link)
        assert (await job.read(START, START, 0)).answered == 64
        found, last = [], START
        while page := (await job.read(last, START)).answers:
            last = page[-1][0]
            found += [json.loads(one)["custom_id"] for _, one in page]
        assert sorted(map(int, found)) == list(range(64))
        assert link.sizes[0] == 0
        assert max(link.sizes) <= 2**20


class Resent:
    """A link that loses the reply to each command but those that take a request."""

    def __init__(self, link: Any) -> None:
        self._link = link

    async def run(self, script: str, keys: list[str], *given: Any) -> Any:
        if script != scripts.TAKE:
            await self._link.run(script, keys, *given)
        return await self._link.run(script, keys, *given)


async def test_a_job_is_created_with_long_answers_in_commands_of_bounded_size(
    server: RedisServer, tmp_path: Path
) -> None:
    sizes: list[int] = []

    class Sent(Resent):
        async def run(self, script: str, keys: list[str], *given: Any) -> Any:
            sizes.append(sum(len(one) for one in given if isinstance(one, bytes)))
            return await self._link.run(script, keys, *given)

    lengths = [2**21, *[2**17] * 9, *[1] * 90]
    known = [line(str(number), "x" * length) for number, length in enumerate(lengths)]
    async with jobs(server, tmp_path, count=1, requests=100) as (other,):
        job = sharing.SharedJob(Sent(other.link), "long", other.path, NEVER)
        await job.create("d", 101, [100], iter(known))
        assert (await job.read(START, START, 0)).answered == 100
        assert sorted(sizes)[-2] <= 2**20
        assert max(sizes) == len(known[0])


async def test_commands_that_are_sent_again_after_a_lost_reply_count_once(
    server: RedisServer, tmp_path: Path
) -> None:
    async with jobs(server, tmp_path, count=1, requests=200) as (other,):
        job = sharing.SharedJob(Resent(other.link), "resent", other.path, NEVER)
        known = (line(str(number), str(number)) for number in range(70))
        await job.create("d", 200, range(70, 200), known)
        taken: list[str] = []
        async for request in job.requests():
            name = request.custom_id
            taken.append(name)
            if name == "150" and taken.count(name) == 1:
                await job.add_error(name, error_line(name, "d", "c", "m", 400))
                await job.retry()
            else:
                await job.add_answer(name, "d", line(name, name))
        assert sorted(map(int, taken)) == sorted([*range(70, 200), 150])
        page, found = await job.read(START, START), []
        assert (page.answered, page.failed, page.round) == (200, 0, 1)
        while page.answers:
            found += [json.loads(one)["response"]["body"]["id"] for _, one in page.answers]
            page = await job.read(page.answers[-1][0], START)
        assert sorted(map(int, found)) == list(range(200))


@pytest.mark.parametrize("at", [scripts.PREPARE, scripts.CREATE], ids=["early", "late"])
async def test_a_job_whose_requests_redis_loses_is_not_created(
    at: str, server: RedisServer, tmp_path: Path
) -> None:
    class Losing(Resent):
        async def run(self, script: str, keys: list[str], *given: Any) -> Any:
            if script == at and given[-1] != 63:
                async with Redis.from_url(server.url) as client:
                    await client.flushall()
            return await self._link.run(script, keys, *given)

    async with jobs(server, tmp_path, count=1, requests=100) as (other,):
        job = sharing.SharedJob(Losing(other.link), "lossy", other.path, NEVER)
        with pytest.raises(BatchError, match=r"job lossy is no longer in Redis; .* same command"):
            await job.create("d", 100, range(100), iter(()))
        assert not await job.find("d", 100)


async def test_other_requests_of_that_name_are_refused(server: RedisServer, tmp_path: Path) -> None:
    async with jobs(server, tmp_path) as (job, _):
        with pytest.raises(BatchError, match=r"the job j in Redis has other requests \(3, not the"):
            await job.create("other", 4, range(4), iter(()))
