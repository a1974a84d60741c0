"""Run gateways for a long time while their models die, stall and come back.

    python benchmarks/soak.py [--minutes 30] [--clients 2] [--seed 0] [--out FILE.json]

Two gateways run as processes of their own, as `dreamr serve` does:

- `servers`: draft and target are scripted model servers over HTTP (scripted_server.py). They are
  killed and started again, and stopped for some seconds as if they hung.
- `workers`: the bundled pair in local worker processes, which are killed.

Clients of all kinds use both at the same time: with and without streaming, with images, clients
that leave, read slowly, send nonsense, set short deadlines, or flood the gateway with a limited
key. The draft of the servers comes and goes more often than the target. Bounds:

- Every request ends in a complete answer or in an error of the documented form, in time. Answers of
  the scripted models are compared word for word.
- No response has status 500, and each kind of client gets the responses that it is meant to get.
- Memory, descriptors and tasks of the gateways do not grow.

Reported without a bound: how long after their deadlines clients with short ones got their answers.
- When the models are left alone, both gateways are well again and answer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import httpx2
from dreamr_testbed import RECEIPT
from scripted_server import ANSWER, script

from dreamr._provenance import provenance
from dreamr.conversation import Image, Part, Text, thumbnail
from dreamr.evaluation.tasks import load

DEADLINE = 60.0  # seconds of a request
HANGING = 30.0  # seconds after the deadline at which a request counts as hanging
RECOVERY = 120.0  # seconds in which the models have to be well again at the end
GROWTH_MB, GROWTH_SHARE = 24.0, 0.10  # bound on the growth of memory: the larger one
GROWTH_FILES = 8  # bound on the growth of open descriptors
GROWTH_TASKS = 4  # bound on the growth of tasks
HASTE = 0.3  # seconds that hasty clients have
REFUSALS = {429, 502, 503, 504}  # the statuses of errors that are not the client's
HERE = Path(__file__).parent
Json = dict[str, Any]


# Processes


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as link:
        return int(link.getsockname()[1])


@dataclass
class ModelServer:
    """A scripted model server that can be killed, started and stopped."""

    seconds: float
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server."""
        command = [sys.executable, str(HERE / "scripted_server.py"), str(self.port)]
        self.process = subprocess.Popen([*command, "--token-seconds", str(self.seconds)])

    def signal(self, number: int) -> None:
        """Send a signal to the server."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the server."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def answering(self) -> None:
        """Wait until the server answers."""
        async with httpx2.AsyncClient() as client:
            with anyio.fail_after(60):
                while True:
                    try:
                        await client.get(f"http://127.0.0.1:{self.port}/v1/models")
                        return
                    except httpx2.TransportError:
                        await anyio.sleep(0.1)


@dataclass
class Gateway:
    """A gateway in a process of its own, with measurements of it.

    Attributes:
        name: Name in the output.
        process: The process.
        log: File with its log.
        url: Its URL.
        memory: Resident memory in MB, once per second.
        files: Open descriptors, once per second.
        outcomes: Number of requests by kind of client and outcome.
        slowest: Seconds of the slowest request by kind of client.
        faults: What must not happen, in words.
        late: Seconds after its deadline at which each answer of a hasty client arrived.
        tasks: Tasks of the event loop before and after.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""
    memory: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)

    async def count_tasks(self) -> None:
        """Note the number of tasks."""
        async with httpx2.AsyncClient(base_url=self.url) as client:
            text = (await client.get("/metrics")).text
        found = re.search(r"^dreamr:tasks (\S+)", text, re.MULTILINE)
        assert found is not None
        self.tasks.append(int(float(found[1])))

    async def answering(self) -> None:
        """Wait until the gateway has printed its address."""
        with anyio.fail_after(180):
            while not (found := re.search(r"base URL (\S+)/v1", self.log.read_text())):
                if self.process.poll() is not None:
                    raise RuntimeError(self.log.read_text())
                await anyio.sleep(0.1)
        self.url = found[1]

    def measure(self) -> None:
        """Take one measurement."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        self.memory.append(int(found[1]) / 1024)
        self.files.append(len(os.listdir(f"/proc/{self.process.pid}/fd")))

    def workers(self) -> list[int]:
        """Return the process ids of the workers of local models."""
        return [child for parent in _children(self.process.pid) for child in _children(parent)]

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        """Count the outcome of a request."""
        self.outcomes[kind, outcome] += 1
        self.slowest[kind] = max(seconds, self.slowest.get(kind, 0.0))


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in os.listdir(f"/proc/{pid}/task")
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        ]
    except FileNotFoundError:  # it has ended meanwhile
        return []


@contextmanager
def gateway(name: str, folder: Path, *flags: str) -> Iterator[Gateway]:
    """Run `dreamr serve` with flags."""
    keys = folder / f"{name}.keys"
    keys.write_text("usual name=usual\nflood name=flood running=6 requests=600 tokens=20000\n")
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "dreamr", "serve", "--port", "0", "--keys-file", str(keys)]
    limits = ["--deadline", str(DEADLINE), "--max-running", "8", "--drain", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *limits, *flags], stderr=file)
    try:
        yield Gateway(name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# Clients

Check = Callable[[Gateway, str, httpx2.AsyncClient, Json, str], Awaitable[str]]


def _error(status: int, body: Json, allowed: set[int]) -> str:
    """Return the outcome of an error response.

    Raises:
        AssertionError: If it has another form or status than it may have.
    """
    error = body.get("error")
    assert isinstance(error, dict), f"an error without the usual form: {body}"
    assert error.get("message"), f"an error without a message: {body}"
    assert status in allowed, f"status {status}: {error['message']}"
    return f"{status} {error.get('code') or ''}".strip()


def _complete(question: str, exact: bool, reasoning: str, answer: str, finish: str) -> str:
    """Return the outcome of a complete answer.

    Raises:
        AssertionError: If it is empty or not what the model writes.
    """
    assert answer, f"an empty answer to {question!r}, finish reason {finish}"
    if exact:
        assert answer == ANSWER, f"another answer: {answer!r}"
        expected = script(question).removesuffix(f"Answer: {ANSWER}")
        assert reasoning == expected, f"another text: {reasoning!r}"
    return "answered"


async def whole(gate: Gateway, kind: str, client: httpx2.AsyncClient, body: Json, text: str) -> str:
    """Send a request without streaming."""
    response = await client.post("/v1/chat/completions", json=body)
    if response.status_code != 200:
        if response.status_code == 429:
            assert response.headers.get("retry-after"), "status 429 without Retry-After"
        allowed = {400} if kind == "invalid" else REFUSALS
        return _error(response.status_code, response.json(), allowed)
    assert kind != "invalid", "an invalid request was answered"
    choice = response.json()["choices"][0]
    message, finish = choice["message"], choice["finish_reason"]
    exact = gate.name == "servers" and kind != "hasty"
    return _complete(text, exact, message["reasoning_content"], message["content"], finish)


async def streamed(
    gate: Gateway, kind: str, client: httpx2.AsyncClient, body: Json, text: str
) -> str:
    """Send a request with streaming; some clients leave early or read slowly."""
    texts = {"reasoning_content": "", "content": ""}
    ended, finish = False, ""
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            await response.aread()
            return _error(response.status_code, response.json(), REFUSALS)
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    return _error(503, chunk, REFUSALS) + " in the stream"
                for choice in chunk["choices"]:
                    finish = choice["finish_reason"] or finish
                    for name in texts:
                        texts[name] += choice["delta"].get(name) or ""
            if kind == "leaving" and texts["reasoning_content"]:
                return "left"
            if kind == "slow":
                await anyio.sleep(0.05)
    assert ended, "a stream without its end"
    assert finish, "a stream without a finish reason"
    reasoning, answer = texts.values()
    return _complete(text, gate.name == "servers", reasoning, answer, finish)


KINDS: dict[str, Check] = {
    "plain": whole,
    "stream": streamed,
    "receipt": whole,
    "leaving": streamed,
    "slow": streamed,
    "invalid": whole,
    "hasty": whole,
    "flood": whole,
}


@cache
def problems() -> list[list[Json]]:
    """Return the parts of problems that the bundled pair was trained for."""
    turns = [item.conversation.turns[-1] for item in load("story", limit=50, seed=1)]
    return [[_part(part) for part in turn.parts] for turn in turns]


def _part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    assert isinstance(part, Image)
    return _image(thumbnail(part))


def _image(content: bytes) -> Json:
    url = f"data:image/png;base64,{b64encode(content).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def request(kind: str, draws: random.Random) -> tuple[Json, str]:
    """Return the body of a request and the text of its question."""
    content = draws.choice(problems())
    if kind == "receipt":
        text = "What do tea and milk cost together?"
        content = [_image(RECEIPT.read_bytes()), {"type": "text", "text": text}]
    body: Json = {"model": "dreamr", "messages": [{"role": "user", "content": content}]}
    body["stream"] = KINDS[kind] is streamed
    if kind == "invalid":
        body |= draws.choice(
            [{"top_p": 2}, {"messages": []}, {"temperature": "hot"}, {"max_tokens": -1}]
        )
    if kind == "hasty":
        body["dreamr"] = {"deadline": HASTE}
    return body, "".join(part.get("text", "") for part in content)


async def use(gate: Gateway, kind: str, seed: int, end: float) -> None:
    """Send requests of one kind until a time."""
    draws = random.Random(seed)
    key = "flood" if kind == "flood" else "usual"
    async with httpx2.AsyncClient(
        base_url=gate.url, headers={"Authorization": f"Bearer {key}"}, timeout=DEADLINE + HANGING
    ) as client:
        while time.monotonic() < end:
            body, text = request(kind, draws)
            began = time.monotonic()
            try:
                with anyio.fail_after(DEADLINE + HANGING):
                    outcome = await KINDS[kind](gate, kind, client, body, text)
            except Exception as error:  # all else is a fault of the gateway
                outcome = "FAULT"
                gate.faults.append(f"{kind}: {type(error).__name__}: {error}"[:400])
            gate.note(kind, outcome, time.monotonic() - began)
            if kind == "hasty" and outcome == "answered":
                gate.late.append(time.monotonic() - began - HASTE)
            await anyio.sleep(draws.uniform(0, 0.05 if kind == "flood" else 1.0))


# What happens to the models


async def break_servers(servers: list[ModelServer], seed: int, end: float) -> Counter[str]:
    """Kill and stop the model servers again and again, each for some seconds."""
    draws, events = random.Random(seed), Counter[str]()
    while time.monotonic() < end:
        await anyio.sleep(draws.uniform(4, 15))
        target, draft = servers
        server = draft if draws.random() < 0.7 else target
        name = "drafts" if server is draft else "targets"
        if draws.random() < 0.5:
            events[f"{name} killed"] += 1
            server.kill()
            await anyio.sleep(draws.uniform(0, 6))
            server.start()
        else:
            events[f"{name} stopped"] += 1
            server.signal(signal.SIGSTOP)
            await anyio.sleep(draws.uniform(1, 8))
            server.signal(signal.SIGCONT)
    return events


async def break_workers(gate: Gateway, seed: int, end: float) -> Counter[str]:
    """Kill one worker, or all, again and again."""
    draws, events = random.Random(seed), Counter[str]()
    while time.monotonic() < end:
        await anyio.sleep(draws.uniform(8, 30))
        workers = gate.workers()
        for pid in workers if draws.random() < 0.2 else workers[: draws.randrange(2)]:
            try:
                os.kill(pid, signal.SIGKILL)
                events["workers killed"] += 1
            except ProcessLookupError:
                continue  # it has ended by itself since it was listed
    return events


# The soak


async def recovered(gate: Gateway) -> float:
    """Return the seconds until the gateway is well and answers, once its models are left alone."""
    began = time.monotonic()
    async with httpx2.AsyncClient(
        base_url=gate.url, headers={"Authorization": "Bearer usual"}, timeout=60
    ) as client:
        while time.monotonic() - began < RECOVERY:
            ready = (await client.get("/ready")).json()
            body, _ = request("plain", random.Random(0))
            answer = await client.post("/v1/chat/completions", json=body)
            if ready["status"] == "ready" and answer.status_code == 200:
                return time.monotonic() - began
            await anyio.sleep(0.5)
    gate.faults.append(f"not well again within {RECOVERY:g} s")
    return RECOVERY


async def watch(gate: Gateway) -> None:
    """Measure a gateway once per second."""
    while gate.process.poll() is None:
        gate.measure()
        await anyio.sleep(1.0)
    gate.faults.append(f"the gateway ended with status {gate.process.returncode}")


def growth(gate: Gateway, idle_files: int) -> Json:
    """Return how memory and descriptors changed, and add faults if they grew."""
    quarter = max(1, len(gate.memory) // 4)
    early = statistics.median(gate.memory[quarter : 2 * quarter] or gate.memory)
    late = statistics.median(gate.memory[-quarter:])
    if late - early > max(GROWTH_MB, GROWTH_SHARE * early):
        gate.faults.append(f"memory grew from {early:.0f} to {late:.0f} MB")
    gate.measure()
    if gate.files[-1] - idle_files > GROWTH_FILES:
        gate.faults.append(f"open descriptors grew from {idle_files} to {gate.files[-1]}")
    before, after = gate.tasks
    if after - before > GROWTH_TASKS:
        gate.faults.append(f"tasks grew from {before} to {after}")
    return {
        "tasks": {"before": before, "after": after},
        "memory_mb": {"early": early, "late": late, "most": max(gate.memory)},
        "files": {"before": idle_files, "after": gate.files[-1], "most": max(gate.files)},
    }


def missing(gate: Gateway) -> Iterator[str]:
    """Yield what kinds of clients did not get although they should."""
    for kind in KINDS:
        good = {"leaving": "left", "invalid": "400"}.get(kind, "answered")
        found = [outcome for name, outcome in gate.outcomes if name == kind]
        # On a busy machine, the time of hasty clients passes while they wait.
        if kind != "hasty" and not any(outcome.startswith(good) for outcome in found):
            yield f"no client of kind {kind} got {good}"


async def soak(
    gates: list[Gateway], servers: list[ModelServer], options: argparse.Namespace
) -> Json:
    """Run the soak and return its results."""
    for gate in gates:
        await gate.answering()
        await recovered(gate)  # warm: all code is loaded
        gate.measure()
        await gate.count_tasks()
    idle = {gate.name: gate.files[-1] for gate in gates}
    end = time.monotonic() + 60 * options.minutes
    events: Counter[str] = Counter()

    async def breaking(work: Awaitable[Counter[str]]) -> None:
        events.update(await work)

    async with anyio.create_task_group() as watching:
        for gate in gates:
            gate.memory.clear()
            watching.start_soon(watch, gate)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(breaking, break_servers(servers, options.seed, end))
            for gate in gates:
                if gate.name == "workers":
                    tasks.start_soon(breaking, break_workers(gate, options.seed + 1, end))
                for number, kind in enumerate(list(KINDS) * options.clients):
                    tasks.start_soon(use, gate, kind, options.seed + number, end)
        took = {gate.name: await recovered(gate) for gate in gates}
        watching.cancel_scope.cancel()
    await anyio.sleep(2)  # closed connections are noticed
    for gate in gates:
        await gate.count_tasks()
    print(", ".join(f"{what} {number} times" for what, number in sorted(events.items())))
    reports = [report(gate, idle[gate.name], took[gate.name]) for gate in gates]
    return {"minutes": options.minutes, "events": dict(events), "gateways": reports}


def report(gate: Gateway, idle: int, recovery: float) -> Json:
    """Print and return the results of a gateway."""
    found = growth(gate, idle)
    gate.faults += missing(gate)
    print(f"\ngateway {gate.name}")
    print(f"{'kind':10}{'requests':>9}{'slowest':>9}  outcomes")
    rows = []
    for kind in KINDS:
        outcomes = {name: n for (own, name), n in sorted(gate.outcomes.items()) if own == kind}
        slowest = gate.slowest.get(kind, 0.0)
        row = {"kind": kind, "outcomes": outcomes, "slowest_seconds": slowest}
        rows.append(row)
        text = ", ".join(f"{name} {number}" for name, number in outcomes.items())
        print(f"{kind:10}{sum(outcomes.values()):9}{slowest:8.1f}s  {text}")
    memory, descriptors, tasks = found["memory_mb"], found["files"], found["tasks"]
    late = sorted(gate.late)
    lateness = {
        "answers": len(late),
        "within_50_ms": sum(seconds <= 0.05 for seconds in late),
        "median_seconds": statistics.median(late) if late else None,
        "p99_seconds": late[int(0.99 * (len(late) - 1))] if late else None,
    }
    print(f"hasty answers after their deadline: {lateness}")
    print(f"tasks {tasks['before']} before, {tasks['after']} after")
    print(f"memory {memory['early']:.0f} MB early, {memory['late']:.0f} MB late")
    print(f"descriptors {descriptors['before']} before, {descriptors['after']} after")
    print(f"well again {recovery:.1f} s after the end")
    for fault, number in Counter(gate.faults).most_common(20):
        print(f"FAULT ({number} times): {fault}")
    return {
        "gateway": gate.name, "kinds": rows, **found,
        "after_deadline": lateness,
        "recovery_seconds": recovery, "faults": dict(Counter(gate.faults)),
    }  # fmt: skip


def main() -> int:
    """Run the soak; return 1 if a bound is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=2, help="clients of each kind and gateway")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write the results to")
    parser.add_argument("--logs", type=Path, help="folder for the logs of the gateways")
    options = parser.parse_args()
    servers = [ModelServer(0.005), ModelServer(0.002)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for server in servers:
                server.start()
                anyio.run(server.answering)
            target, draft = (f"http://127.0.0.1:{server.port}/v1" for server in servers)
            with (
                gateway("servers", folder, "--target", target, "--draft", draft) as first,
                gateway("workers", folder) as second,
            ):
                found = anyio.run(soak, [first, second], servers, options)
        finally:
            for server in servers:
                server.kill()
    if options.out:
        content = {"provenance": provenance(), **found}
        options.out.write_text(json.dumps(content, indent=2) + "\n")
    good = not any(row["faults"] for row in found["gateways"])
    print("\nok" if good else "\nMISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
