"""Replicas in processes of their own, restarted one after the other under load."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import httpx2

from support.processes import environment

CODE = """
import sys
from support.pairs import Pair
from dreamr.cli import main
steps = [f"Number {n} is one more than the number before it.\\n\\n" for n in range(12)]
model = {"script": (*steps, "Answer: 11"), "token_seconds": 0.01}
pair = Pair(target={**model, "opinion": 0.95}, draft=model)
sys.exit(main(["serve", *sys.argv[1:]], open_model=pair))
"""
QUESTION = "What is the last number?"
MESSAGES = [{"role": "user", "content": QUESTION}]
SECONDS = 60


class Failed(Exception):
    """A request was not answered, or not to its end."""


@dataclass
class Replica:
    """A gateway in a process of its own, at the same address after each restart."""

    arguments: tuple[str, ...]
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)) as link:
            self.port = link.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        command = [sys.executable, "-c", CODE, "--port", str(self.port), *self.arguments]
        null = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=null, stdout=null, stderr=null, env=environment()
        )

    def wait(self) -> None:
        assert self.process is not None
        end = time.monotonic() + SECONDS
        while not self._is_ready():
            assert self.process.poll() is None, "it did not start"
            assert time.monotonic() < end
            time.sleep(0.05)

    def stop(self) -> None:
        """Send SIGTERM, and wait until it has ended as it should."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(SECONDS) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(SECONDS)

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False


@dataclass
class Balancer:
    """Sends requests as a load balancer does: only to replicas that are ready, on kept connections.

    A replica that refuses the connection, or says that it stops, is passed over. Nothing else is
    tried again.
    """

    clients: list[httpx2.AsyncClient]
    turns: Any = field(default_factory=count)
    ready: list[bool] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)

    async def watch(self, every: float = 0.2) -> None:
        """Ask each replica whether it is ready, until canceled."""
        self.ready = [True] * len(self.clients)
        while True:
            for number, client in enumerate(self.clients):
                try:
                    answer = await client.get("/ready")
                    self.ready[number] = answer.status_code == 200
                except httpx2.TransportError:
                    self.ready[number] = False
            await anyio.sleep(every)

    @asynccontextmanager
    async def send(
        self, method: str, path: str, body: Any = None, **more: Any
    ) -> AsyncIterator[Any]:
        """Send a request to a replica, and yield the response."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            number = next(self.turns) % len(self.clients)
            if not self.ready[number]:
                await anyio.sleep(0)
                continue
            client = self.clients[number]
            request = client.build_request(method, path, json=body, **more)
            try:
                answer = await client.send(request, stream=True)
            except httpx2.ConnectError:
                self.passed["refused"] += 1
                self.ready[number] = False
                continue
            except httpx2.TransportError as error:
                raise Failed(f"{method} {path}: {type(error).__name__}: {error}") from error
            if answer.status_code == 503 and "about to stop" in (await answer.aread()).decode():
                await answer.aclose()
                self.passed["draining"] += 1
                self.ready[number] = False
                continue
            try:
                if answer.status_code != 200:
                    text = (await answer.aread()).decode()
                    raise Failed(f"{method} {path}: {answer.status_code} {text}")
                yield answer
            except httpx2.TransportError as error:
                raise Failed(f"{method} {path}: cut: {type(error).__name__}") from error
            finally:
                await answer.aclose()
            return
        raise Failed("no replica was ready")

    async def stream(self, path: str, body: Any, last: str, **more: Any) -> list[str]:
        """Return the data of a stream, which must end as it should."""
        lines = []
        async with self.send("POST", path, body, **more) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    lines.append(line.removeprefix("data: "))
        if not lines or last not in lines[-1]:
            raise Failed(f"POST {path}: the stream was cut after {lines[-1:]}")
        return lines

    async def json(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Return the body of a response."""
        async with self.send(method, path, body, **more) as answer:
            return json.loads(await answer.aread())


async def chat(balancer: Balancer) -> None:
    asked = {"model": "dreamr", "messages": MESSAGES, "stream": True}
    lines = await balancer.stream("/v1/chat/completions", asked, "[DONE]")
    found = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]
    text = "".join(delta.get("content") or "" for delta in found)
    if text != "11":
        raise Failed(f"a stream said {text!r}")


async def whole(balancer: Balancer) -> None:
    asked = {"model": "dreamr", "messages": MESSAGES, "max_tokens": 400}
    found = await balancer.json("POST", "/v1/messages", asked)
    if found["content"][-1]["text"] != "11":
        raise Failed(f"an answer was {found}")


async def turns(balancer: Balancer) -> None:
    """Stream a response, and continue it at whichever replica is next."""
    asked = {"model": "dreamr", "input": QUESTION, "stream": True}
    lines = await balancer.stream("/v1/responses", asked, "response.completed")
    name = json.loads(lines[-1])["response"]["id"]
    again = {"model": "dreamr", "input": QUESTION, "previous_response_id": name}
    await balancer.json("POST", "/v1/responses", again)


async def background(balancer: Balancer) -> None:
    """Begin a response in the background, and wait for it at whichever replica is next."""
    asked = {"model": "dreamr", "input": QUESTION, "background": True}
    found = await balancer.json("POST", "/v1/responses", asked)
    while found["status"] in ("queued", "in_progress"):
        await anyio.sleep(0.1)
        found = await balancer.json("GET", f"/v1/responses/{found['id']}")
    if found["status"] != "completed":
        raise Failed(f"a response in the background ended as {found}")


async def completion(balancer: Balancer) -> None:
    """Stream a completion with a key, then ask for it again at whichever replica is next."""
    asked = {"model": "dreamr", "prompt": QUESTION, "stream": True}
    headers = {"Idempotency-Key": uuid4().hex}
    first, again = [
        await balancer.stream("/v1/completions", asked, "[DONE]", headers=headers) for _ in range(2)
    ]
    if first != again:
        raise Failed(f"the same request was answered by {first}, then by {again}")


async def batch(balancer: Balancer) -> None:
    """Upload a file of requests, and wait for their answers at whichever replica is next."""
    path = "/v1/chat/completions"
    lines = [
        json.dumps(
            {
                "custom_id": str(number),
                "method": "POST",
                "url": path,
                "body": {"model": "dreamr", "messages": MESSAGES},
            }
        )
        for number in range(4)
    ]
    files = {"file": ("batch.jsonl", "\n".join(lines))}
    sent = await balancer.json("POST", "/v1/files", data={"purpose": "batch"}, files=files)
    asked = {"input_file_id": sent["id"], "endpoint": path, "completion_window": "24h"}
    found = await balancer.json("POST", "/v1/batches", asked)
    while found["status"] not in ("completed", "failed", "cancelled", "expired"):
        await anyio.sleep(0.1)
        found = await balancer.json("GET", f"/v1/batches/{found['id']}")
    if found["request_counts"] != {"total": 4, "completed": 4, "failed": 0}:
        raise Failed(f"a batch ended as {found}")
    async with balancer.send("GET", f"/v1/files/{found['output_file_id']}/content") as answer:
        results = [json.loads(line) for line in (await answer.aread()).splitlines()]
    texts = [one["response"]["body"]["choices"][0]["message"]["content"] for one in results]
    if texts != ["11"] * 4:
        raise Failed(f"a batch answered {texts}")


KINDS: tuple[Callable[[Balancer], Any], ...] = (
    chat,
    whole,
    turns,
    background,
    completion,
    batch,
)


async def restarted(replicas: list[Replica], rounds: int, clients: int) -> Counter[str]:
    """Restart replicas one after the other while clients of each kind send requests.

    Returns:
        The number of requests by kind, of failures by message, and of requests that were passed to
        another replica by reason.
    """
    found: Counter[str] = Counter()
    over = False

    async def work(kind: Callable[[Balancer], Any]) -> None:
        while not over:
            try:
                await kind(balancer)
                found[kind.__name__] += 1
            except Failed as error:
                found[f"failed: {error}"] += 1

    async with anyio.create_task_group() as tasks:
        links = [httpx2.AsyncClient(base_url=one.url, timeout=SECONDS) for one in replicas]
        balancer = Balancer(links)
        watching = anyio.CancelScope()

        async def watch() -> None:
            with watching:
                await balancer.watch()

        tasks.start_soon(watch)
        await anyio.sleep(0)
        async with anyio.create_task_group() as busy:
            for _ in range(clients):
                for kind in KINDS:
                    busy.start_soon(work, kind)
            for _ in range(rounds):
                for replica in replicas:
                    await anyio.to_thread.run_sync(replica.stop)
                    await anyio.to_thread.run_sync(replica.start)
            over = True
        watching.cancel()
        for link in links:
            await link.aclose()
    return found + Counter({f"passed: {name}": n for name, n in balancer.passed.items()})
