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
- When the models are left alone, both gateways are well again and answer.

Reported without a bound: how long after their deadlines clients with short ones got their answers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from pathlib import Path

import anyio
import httpx2
from soak_clients import KINDS, Json, request, use
from soak_processes import Gateway, ModelServer, gateway

from dreamr.tooling import provenance

RECOVERY = 120.0  # seconds in which the models have to be well again at the end
GROWTH_MB, GROWTH_SHARE = 24.0, 0.10  # bound on the growth of memory: the larger one
GROWTH_FILES = 8  # bound on the growth of open descriptors
GROWTH_TASKS = 4  # bound on the growth of tasks


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
