"""Gateway replicas under Ray Serve: they scale, move and die while clients stream."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from support.ray_cluster import Cluster
from support.redis_server import RedisServer, needs_redis

pytestmark = [pytest.mark.server, pytest.mark.slow]
SCALING = {
    "min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 2,
    "upscale_delay_s": 1.0, "downscale_delay_s": 3.0, "metrics_interval_s": 1.0,
    "look_back_period_s": 3.0,
}  # fmt: skip
STREAMS = 12
FIXED = {**SCALING, "min_replicas": 2, "max_replicas": 2}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run all tests over emulated servers; with --all, those of whole streams over vLLM too.

    The bundled pair answers so fast on vLLM that no stream is open when a replica is killed.
    """
    whole = any(word in metafunc.function.__name__ for word in ("is_lost", "loses"))
    more = ["vllm"] if whole and metafunc.config.getoption("--all") else []
    metafunc.parametrize("ray", ["emulated", *more], indirect=True, scope="module")


def asked(number: int) -> dict[str, Any]:
    question = f"A pen costs {number} and a book costs 12. What do both cost together?"
    return {
        "model": "dreamr",
        "stream": True,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": question}],
    }


async def stream(client: httpx2.AsyncClient, number: int) -> AsyncGenerator[str, None]:
    """Yield the lines of a stream."""
    async with client.stream("POST", "/v1/chat/completions", json=asked(number)) as answer:
        assert answer.status_code == 200, answer.status_code
        async for line in answer.aiter_lines():
            yield line


async def asked_again(client: httpx2.AsyncClient, number: int) -> tuple[str, str]:
    """Return the thoughts of a stream up to where it was cut, and those when it is repeated."""
    headers, thoughts = {"Idempotency-Key": f"ray {number}"}, []
    while len(thoughts) < 10:
        text = ""
        with suppress(httpx2.HTTPError):
            async with client.stream(
                "POST", "/v1/chat/completions", json=asked(number), headers=headers
            ) as answer:
                async for line in answer.aiter_lines():
                    text += "".join(thought(line))
                    if line == "data: [DONE]":
                        return (thoughts or [text])[0], text
        thoughts.append(text)
        await anyio.sleep(0.2)
    raise AssertionError("it did not end")


def thought(line: str) -> Iterator[str]:
    """Yield the thoughts in a line of a stream."""
    if line.startswith("data: {"):
        for choice in json.loads(line.removeprefix("data: "))["choices"]:
            yield choice["delta"].get("reasoning") or ""


async def followed(client: httpx2.AsyncClient, number: int) -> tuple[int, list[int]]:
    """Return how often a response was cut, and the numbers of all its events."""
    body = {key: value for key, value in asked(number).items() if key in ("model", "stream")}
    body |= {"input": asked(number)["messages"], "max_output_tokens": 200}
    name, seen, cuts = "", [], 0
    while cuts < 10:
        path = f"/v1/responses/{name}?stream=true&starting_after={len(seen) - 1}"
        request = ("GET", path, None) if seen else ("POST", "/v1/responses", body)
        with suppress(httpx2.HTTPError):
            async with client.stream(request[0], request[1], json=request[2]) as answer:
                if answer.status_code == 409:  # what was not committed is written again
                    error = json.loads(await answer.aread())
                    del seen[error["dreamr"]["starting_after"] + 1 :]
                    continue
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        event = json.loads(line.removeprefix("data: "))
                        seen.append(event["sequence_number"])
                        name = event.get("response", {}).get("id", name)
                        if event["type"] in ("response.completed", "response.incomplete"):
                            return cuts, seen
        cuts += 1
        await anyio.sleep(0.2)
    raise AssertionError("it did not end")


async def outcome(client: httpx2.AsyncClient, number: int) -> str:
    """Return how a stream ends: done, cut, or refused."""
    last = ""
    try:
        async for line in stream(client, number):
            last = line or last
    except httpx2.HTTPError as error:
        return f"cut: {type(error).__name__}"
    except AssertionError as error:
        return f"refused: {error}"
    return "done" if last == "data: [DONE]" else "cut"


async def load(
    url: str, clients: int, enough: Callable[[Counter[str]], bool], each: int = 2
) -> Counter[str]:
    """Stream with several clients until it is enough, each at least some times."""
    found: Counter[str] = Counter()

    async def work(number: int) -> None:
        turn = 0
        while turn < each or not enough(found):
            async with httpx2.AsyncClient(base_url=url, timeout=120) as client:
                found[await outcome(client, number * 100 + turn)] += 1
            turn += 1

    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            for number in range(clients):
                tasks.start_soon(work, number)
    return found


def up(ray: Cluster, scaling: dict[str, Any]) -> None:
    """Deploy the gateway with a number of replicas."""
    ray.deploy(**scaling)
    ray.until(lambda: len(ray.replicas()) >= scaling["min_replicas"], 60)


def test_replicas_start_and_end_with_the_load_and_no_request_is_lost(ray: Cluster) -> None:
    up(ray, SCALING)
    most = 0

    def scaled(found: Counter[str]) -> bool:
        nonlocal most
        most = max(most, len(ray.replicas()))
        return most > 1 and found.total() >= 30

    found = anyio.run(load, ray.url, 8, scaled)
    assert set(found) == {"done"}, found
    after = anyio.run(load, ray.url, 1, lambda _: len(ray.replicas()) == 1)
    assert set(after) == {"done"}, after


def test_a_redeployment_loses_no_stream(ray: Cluster) -> None:
    up(ray, FIXED)
    before = ray.replicas()
    ray.change(max_waiting=64)

    found: Counter[str] = Counter()

    async def work() -> None:
        moved = anyio.Event()

        async def redeploy() -> None:
            await anyio.to_thread.run_sync(lambda: ray.deploy(**FIXED))
            await anyio.to_thread.run_sync(ray.until, lambda: not (ray.replicas() & before), 150)
            moved.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(redeploy)
            found.update(await load(ray.url, 4, lambda _: moved.is_set()))

    anyio.run(work)
    assert set(found) == {"done"}, found
    assert found.total() >= 8


def test_a_killed_replica_cuts_its_own_streams_and_no_others(ray: Cluster) -> None:
    up(ray, FIXED)

    async def work() -> tuple[Counter[str], Counter[str]]:
        found: Counter[str] = Counter()
        begun = 0

        async def one(number: int) -> None:
            nonlocal begun
            async with httpx2.AsyncClient(base_url=ray.url, timeout=120) as client:
                last = ""
                with suppress(httpx2.HTTPError):
                    async for line in stream(client, number):
                        begun += not last
                        last = line or last
                found["done" if last == "data: [DONE]" else "cut"] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(STREAMS):
                tasks.start_soon(one, number)
            with anyio.fail_after(60):
                while begun < STREAMS:  # before that, the client gets status 500
                    await anyio.sleep(0.01)
            victim = min(ray.replicas())
            os.kill(victim, signal.SIGKILL)
        after = await load(ray.url, 2, lambda _: len(ray.replicas() - {victim}) == 2)
        return found, after

    found, after = anyio.run(work)
    assert set(found) == {"cut", "done"}, found
    assert set(after) == {"done"}, after


def test_a_client_that_leaves_frees_the_models_without_a_traceback(ray: Cluster) -> None:
    up(ray, {**SCALING, "max_replicas": 1})

    async def work() -> None:
        async with httpx2.AsyncClient(base_url=ray.url, timeout=120) as client:
            async with aclosing(stream(client, 1)) as lines:
                async for line in lines:
                    if "reasoning" in line:
                        break
            idle = "\ndreamr:num_requests_running 0.0"
            left = 'dreamr:request_failure_total{status="499"} 1.0'
            with anyio.fail_after(20):
                text = ""
                while not (idle in text and left in text):  # it is counted after it has ended
                    text = (await client.get("/metrics")).text

    anyio.run(work)
    assert "Traceback" not in ray.logs()


@needs_redis
def test_streams_of_a_killed_replica_go_on_at_another_through_redis(
    ray: Cluster, tmp_path: Path
) -> None:
    async def work() -> tuple[list[tuple[str, str]], list[tuple[int, list[int]]]]:
        repeated: list[tuple[str, str]] = []
        resumed: list[tuple[int, list[int]]] = []
        async with httpx2.AsyncClient(base_url=ray.url, timeout=120) as client:

            async def repeat(number: int) -> None:
                repeated.append(await asked_again(client, number))

            async def follow(number: int) -> None:
                resumed.append(await followed(client, number))

            async def kill() -> None:
                with anyio.fail_after(60):
                    while len(server.value("KEYS", "*:attempt:*:steps")) < STREAMS // 2:
                        await anyio.sleep(0.05)
                os.kill(min(ray.replicas()), signal.SIGKILL)

            async with anyio.create_task_group() as tasks:
                for number in range(0, STREAMS, 2):
                    tasks.start_soon(repeat, number)
                    tasks.start_soon(follow, number + 1)
                tasks.start_soon(kill)
        return repeated, resumed

    with RedisServer(tmp_path) as server:
        before = ray.replicas()
        ray.change(store=server.url)
        up(ray, FIXED)
        ray.until(lambda: not (ray.replicas() & before), 150)
        repeated, resumed = anyio.run(work)
    assert len(repeated) == len(resumed) == STREAMS // 2
    assert all(again.startswith(first) for first, again in repeated)
    assert any(first and first != again for first, again in repeated), "none was cut"
    assert all(seen == list(range(len(seen))) for _, seen in resumed)
    assert any(cuts for cuts, _ in resumed), "none was cut"
