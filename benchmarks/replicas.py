"""Measure replicas of the gateway: streams served, latency beside open streams, memory a stream.

    python benchmarks/replicas.py [--out FILE.json] [--only scaling|open] [--store] [--in-process]

Replicas are processes, as `dreamr serve` starts them. The models are scripted: their work is time.
They are HTTP servers, which share the processor with the gateways and the clients; or, with
`--in-process`, engines in the gateways. With `--store`, the replicas share a Redis server.

Scaling: 1, 2, 4 and 8 replicas, each with as many clients as it has places. A quarter of the places
stays free for others, so two of eight clients wait. Each client asks again as soon as its stream
has ended. Reported: streams a second, their ratio to one replica's, latency, and the share of all
cores that was in use. Where that is close to 1, the machine is full and the ratio says nothing
about the gateway. Bounds where it is below 0.9: 1.9, 3.6 and 6.5 times one.

Open: requests at one replica, one at a time, beside 10 and beside 1,000 open streams. Bounds: the
99th percentile of their latency grows by a factor of at most 1.3, and an open stream takes at most
200 kB of the gateway's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import uvicorn
from scripted_server import Model, _event
from starlette.applications import Starlette
from starlette.routing import Route

from dreamr.tooling import provenance

REPLICAS = (1, 2, 4, 8)
BOUNDS = {2: 1.9, 4: 3.6, 8: 6.5}
FULL = 0.9  # share of the cores in use from which the machine counts as full
OPEN = (10, 1000)
LATENCY_BOUND, MEMORY_BOUND = 1.3, 200.0
STEPS, STEP_SECONDS = 10, 0.1
OPEN_TOKENS = 120  # of the step that a stream stays open for
OPEN_SECONDS = 30.0, 60.0  # between two of its tokens
STAY = "Stay open."
QUESTION = "How much is it?"
WARM = 3  # seconds before measuring
TICKS = os.sysconf("SC_CLK_TCK")

IN_PROCESS = """
import sys
sys.path.insert(0, {folder!r})
from replicas import open_engine
from dreamr.cli import main
sys.exit(main(open_model=open_engine))
"""


def steps() -> list[str]:
    """Return the steps that the models write."""
    return [*(f"Step {n} takes its time.\n\n" for n in range(STEPS)), "Answer: 4"]


class Paced(Model):
    """A model server that writes a step at a time, each after its time."""

    async def _stream(self, messages: list[dict[str, Any]], most: int) -> AsyncIterator[bytes]:
        prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        if STAY in json.dumps(messages):
            for _ in range(OPEN_TOKENS):
                await anyio.sleep(random.uniform(*OPEN_SECONDS))
                yield _event({"content": "and "}, None)
        for text in steps()[prefix.count("\n\n") :]:
            await anyio.sleep(self._seconds)
            yield _event({"content": text}, "stop" if text.startswith("Answer") else None)
        yield b"data: [DONE]\n\n"


def serve_model(port: int, step_seconds: float) -> None:
    """Serve the model until the process ends."""
    model = Paced(step_seconds)
    routes = [
        Route("/v1/models", model.models),
        Route("/v1/chat/completions", model.chat, methods=["POST"]),
    ]
    uvicorn.run(
        Starlette(routes=routes), port=port, log_level="error", lifespan="off", backlog=4096
    )


async def open_engine(source: Any) -> Any:
    """Open a scripted engine in the gateway's process."""
    from dreamr.engines import Context, ScriptedEngine
    from dreamr.engines import Model as Opened

    class Engine(ScriptedEngine):
        async def stream(self, context: Context, sampling: Any) -> AsyncIterator[Any]:
            if STAY in repr(context.conversation.turns[-1]):
                await anyio.sleep(OPEN_TOKENS * OPEN_SECONDS[0])
            async for chunk in super().stream(context, sampling):
                yield chunk

    words = len(steps()[0].split())
    engine = Engine(
        name=source.role, script=steps(), opinion=0.95, token_seconds=STEP_SECONDS / words
    )
    return Opened(engine)


@dataclass
class Process:
    """A process that is measured."""

    popen: subprocess.Popen[str]
    url: str = ""

    @property
    def seconds(self) -> float:
        """Processor seconds so far."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def kilobytes(self) -> float:
        """Resident memory."""
        text = Path(f"/proc/{self.popen.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        assert found
        return float(found[1])


@contextmanager
def running(command: list[str], **given: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the end of the block."""
    process = subprocess.Popen(command, text=True, **given)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def models(step_seconds: float) -> Iterator[list[str]]:
    """Run the servers of target and draft, and yield the flags that name them."""
    with ExitStack() as stack:
        flags: list[str] = []
        for role in ("target", "draft"):
            port = free_port()
            command = [sys.executable, __file__, "--serve-model", str(port)]
            command += ["--step-seconds", str(step_seconds)]
            stack.enter_context(running(command))
            flags += [f"--{role}", f"http://127.0.0.1:{port}/v1"]
        yield flags


def free_port() -> int:
    """Return a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as link:
        port: int = link.getsockname()[1]
        return port


@contextmanager
def redis(wanted: bool) -> Iterator[list[str]]:
    """Run a Redis server if one is wanted, and yield the flags that name it."""
    if not wanted:
        yield []
        return
    found = shutil.which("redis-server")
    assert found, "apt-get install redis-server"
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/redis.sock"
        command = [found, "--port", "0", "--unixsocket", place, "--dir", folder, "--save", ""]
        with running(command, stdout=subprocess.DEVNULL):
            while not Path(place).exists():
                time.sleep(0.01)
            yield ["--store", f"unix://{place}"]


@contextmanager
def gateways(count: int, places: int, flags: list[str], inside: bool) -> Iterator[list[Process]]:
    """Run replicas, and yield them when they answer."""
    code = IN_PROCESS.format(folder=str(Path(__file__).parent))
    head = [sys.executable, "-c", code] if inside else [sys.executable, "-m", "dreamr"]
    command = [
        *head, "serve", "--port", "0", "--wait", "60", "--no-load-aware", "--log-level", "error",
        "--max-running", str(places), "--max-waiting", str(places),
        "--max-connections", str(2 * places + 100),
        "--deadline", "86400", "--final-answer", "target", *flags,
    ]  # fmt: skip
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                running(command, stderr=subprocess.PIPE, env={**os.environ, "COLUMNS": "200"})
            )
            for _ in range(count)
        ]
        yield [Process(one, _address(one)) for one in started]


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"base URL (\S+)/v1", line):
            return found[1]
    raise SystemExit("a gateway did not come up")


async def ask(client: httpx2.AsyncClient, url: str, question: str = QUESTION) -> float:
    """Stream an answer; return the seconds that it took."""
    body = {
        "model": "dreamr",
        "messages": [{"role": "user", "content": question}],
        "stream": True,
    }
    began = time.perf_counter()
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for _ in response.aiter_raw():
            pass
    return time.perf_counter() - began


def new_client(connections: int) -> httpx2.AsyncClient:
    """Return a client without limits of time."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx2.AsyncClient(limits=limits, timeout=None)


def busy() -> tuple[float, float]:
    """Return the seconds in which all cores worked, and in which they were idle."""
    fields = [int(one) / TICKS for one in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    idle = fields[3] + fields[4]
    return sum(fields[:8]) - idle, idle


async def closed_loop(replicas: list[Process], places: int, seconds: float) -> dict[str, Any]:
    """Let as many clients as there are places ask, and measure after a while."""
    took: list[float] = []
    start = time.perf_counter() + WARM

    async def one(client: httpx2.AsyncClient, url: str) -> None:
        while time.perf_counter() < start + seconds:
            found = await ask(client, url)
            if start <= time.perf_counter() <= start + seconds:  # as many begin before as end after
                took.append(found)

    async with new_client(places * len(replicas)) as client, anyio.create_task_group() as tasks:
        for replica in replicas:
            for _ in range(places):
                tasks.start_soon(one, client, replica.url)
        await anyio.sleep(WARM)
        before, processors = busy(), sum(one.seconds for one in replicas)
        await anyio.sleep(seconds)
        after = busy()
        used = sum(one.seconds for one in replicas) - processors
    worked, idle = (late - early for late, early in zip(after, before, strict=True))
    return {
        "streams_per_second": len(took) / seconds,
        "median_seconds": statistics.median(took),
        "p99_seconds": statistics.quantiles(took, n=100)[-1],
        "cores_in_use": worked / (worked + idle),
        "gateway_seconds_per_stream": used / len(took),
    }


def scaling(options: argparse.Namespace, flags: list[str]) -> list[dict[str, Any]]:
    """Measure the streams that several replicas serve."""
    rows: list[dict[str, Any]] = []
    for count in options.replicas:
        with gateways(count, options.places, flags, options.in_process) as replicas:
            found = anyio.run(closed_loop, replicas, options.places, options.seconds)
        first = rows[0]["streams_per_second"] if rows else found["streams_per_second"]  # of one
        rows.append({"replicas": count, **found, "ratio": found["streams_per_second"] / first})
        print(
            f"{count} replicas: {found['streams_per_second']:.1f} streams/s, "
            f"{rows[-1]['ratio']:.2f} times one, p99 {found['p99_seconds']:.2f} s, "
            f"{found['cores_in_use']:.0%} of the cores, "
            f"{1e3 * found['gateway_seconds_per_stream']:.1f} ms of a gateway per stream",
            flush=True,
        )
    return rows


async def beside(replica: Process, count: int, requests: int) -> dict[str, Any]:
    """Measure requests beside open streams."""
    async with new_client(count + 10) as client, anyio.create_task_group() as tasks:
        await ask(client, replica.url)
        empty = replica.kilobytes
        for _ in range(count):
            tasks.start_soon(ask, client, replica.url, STAY)
        metrics = f"{replica.url}/metrics"
        while f"dreamr:num_requests_running {float(count)}" not in (await client.get(metrics)).text:
            await anyio.sleep(0.1)
        await anyio.sleep(WARM)
        took = [await ask(client, replica.url) for _ in range(requests)]
        grown = replica.kilobytes - empty
        tasks.cancel_scope.cancel()
    return {
        "open": count,
        "median_seconds": statistics.median(took),
        "p99_seconds": statistics.quantiles(took, n=100)[-1],
        "slowest_seconds": sorted(took)[-5:],
        "kilobytes_per_stream": grown / count,
    }


def open_streams(options: argparse.Namespace, flags: list[str]) -> list[dict[str, Any]]:
    """Measure latency and memory beside open streams."""
    rows = []
    for count in options.open:
        with gateways(1, 2 * count, flags, options.in_process) as (replica,):
            rows.append(anyio.run(beside, replica, count, options.requests))
        print(
            f"{count} open streams: median {rows[-1]['median_seconds']:.3f} s, "
            f"p99 {rows[-1]['p99_seconds']:.3f} s, "
            f"{rows[-1]['kilobytes_per_stream']:.0f} kB a stream",
            flush=True,
        )
    return rows


def is_good(content: dict[str, Any]) -> bool:
    """Return whether all bounds hold."""
    good = True
    for row in content.get("scaling", ()):
        bound = BOUNDS.get(row["replicas"], 0.0)
        good &= row["cores_in_use"] >= FULL or row["ratio"] >= bound
    if rows := content.get("open"):
        good &= rows[-1]["p99_seconds"] <= LATENCY_BOUND * rows[0]["p99_seconds"]
        good &= rows[-1]["kilobytes_per_stream"] <= MEMORY_BOUND
    return good


def main() -> int:
    """Run the benchmark; return 1 if a bound is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file to write the results to")
    parser.add_argument("--only", choices=("scaling", "open"))
    parser.add_argument("--store", action="store_true", help="share a Redis server")
    parser.add_argument("--in-process", action="store_true", help="engines in the gateways")
    parser.add_argument("--replicas", type=int, nargs="+", default=REPLICAS)
    parser.add_argument("--places", type=int, default=8, help="requests of a replica at a time")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement")
    parser.add_argument("--open", type=int, nargs="+", default=OPEN)
    parser.add_argument("--requests", type=int, default=150, help="beside open streams")
    parser.add_argument("--step-seconds", type=float, default=STEP_SECONDS, help="over HTTP")
    parser.add_argument("--serve-model", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replicas[0] != 1:
        parser.error("--replicas must begin with 1: the others are compared with one replica")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.serve_model:
        serve_model(options.serve_model, options.step_seconds)
        return 0
    content: dict[str, Any] = {"provenance": provenance()}
    with ExitStack() as stack:
        flags = [] if options.in_process else stack.enter_context(models(options.step_seconds))
        flags = [*flags, *stack.enter_context(redis(options.store))]
        if options.only != "open":
            content["scaling"] = scaling(options, flags)
        if options.only != "scaling":
            content["open"] = open_streams(options, flags)
    if options.out:
        options.out.write_text(json.dumps(content, indent=2) + "\n")
    good = is_good(content)
    print("ok" if good else "MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
