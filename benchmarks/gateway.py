"""Measure the gateway's overhead over the runner and its behavior under load.

    python benchmarks/gateway.py [--out FILE.json] [--only overhead|load]

All models are scripted engines.

Overhead: the same runs directly and through HTTP, alternately. The engines take no time, so the
difference is the gateway's own: time to the first byte (bound: 5 ms at the median) and time per
step (bound: 0.5 ms at the median). Also the time until both lanes are free after a client has
disconnected (bound: 100 ms).

Load: up to 32 concurrent clients, each with one request at a time, over a target that serves
eight calls as fast as one. Rounds of the target alone and of fpsr alternate, on a gateway with
load control and on one without, after a few warm-up requests. Two pairs: a good one, and one whose
judge calls cost more than they save. Bound: with load control never slower than 0.95 times the
target alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import anyio
import httpx2
import numpy as np

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.conversation import Conversation
from dreamr.engines import Context, Model, ModelSource, ScriptedEngine
from dreamr.serving.gateway import ServedPair, build_app, http_server, listen
from dreamr.serving.options import ServeOptions
from dreamr.tooling import provenance
from dreamr.trace import Event, StepCommitted

QUESTION = "How much is it?"
FIRST_BOUND, STEP_BOUND, LEFT_BOUND, LOAD_BOUND = 5.0, 0.5, 100.0, 0.95
CONCURRENCY = (1, 2, 4, 8, 16, 32)
STEPS, WORDS = 6, 12
WARM = 5  # warm-up requests of each of four clients


@dataclass(frozen=True)
class Plan:
    """A pair of scripted engines.

    Attributes:
        name: Name in the output.
        target: Seconds per token of the target.
        draft: Seconds per token of the draft.
        judge: Seconds per judge call.
        passes: Accepted steps of every three.
        capacity: Concurrent calls that an engine serves without slowing down.
        steps: Steps of an answer.
    """

    name: str
    target: float = 0.0
    draft: float = 0.0
    judge: float = 0.0
    passes: int = 3
    capacity: float = float("inf")
    steps: int = STEPS

    async def open(self, source: ModelSource) -> Model:
        """Open the engine of a role."""
        text = ["so " * (WORDS - 1) + "on\n\n"] * self.steps + ["Answer: it is 4"]
        return Model(
            ScriptedEngine(
                name=source.role,
                script=text,
                opinion=self.opinion,
                token_seconds=self.target if source.role == "target" else self.draft,
                judge_seconds=self.judge,
                capacity=self.capacity,
            )
        )

    def opinion(self, context: Context, _: str) -> float:
        """Return the judge ratio of the step after a prefix."""
        return float(len(context.prefix) % 3 < self.passes)


PAIRS = (
    Plan("good", target=0.010, draft=0.0015, judge=0.02, passes=2, capacity=8),
    Plan("bad", target=0.010, draft=0.005, judge=0.15, passes=1, capacity=8),
)


def _serve(plan: Plan, aware: bool, port: Any) -> None:
    """Run a gateway until the process ends."""

    async def main() -> None:
        async with Reasoner(RunOptions(max_steps=10**4), open_model=plan.open) as reasoner:
            load = Load(aware=aware)
            alone = await reasoner.reason(QUESTION, options=RunOptions(method="target"))
            load.learn(alone, alone=True)
            options = ServeOptions(port=0, max_running=64)
            pair = ServedPair.of("dreamr", reasoner, options, load=load)
            app = build_app([pair], options)
            link = listen(options)
            port.send(link.getsockname()[1])
            await http_server(app, options).serve(sockets=[link])

    anyio.run(main)


@contextmanager
def gateway(plan: Plan, *, aware: bool) -> Iterator[str]:
    """Run a gateway in a separate process; yield the URL of its chat endpoint."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(plan, aware, there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1/chat/completions"
    finally:
        process.terminate()
        process.join(10)


def _body(method: str) -> dict[str, Any]:
    return {
        "model": "dreamr",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "dreamr": {"method": method},
    }


async def _through(client: httpx2.AsyncClient, url: str, method: str) -> tuple[float, float]:
    """Return the seconds to the first and to the last byte of a streamed answer."""
    began = time.perf_counter()
    first = None
    async with client.stream("POST", url, json=_body(method), timeout=600) as response:
        assert response.status_code == 200, await response.aread()
        async for _ in response.aiter_raw():
            first = first or time.perf_counter() - began
    assert first is not None
    return first, time.perf_counter() - began


async def _direct(reasoner: Reasoner, conversation: Conversation) -> tuple[float, float]:
    """Return the seconds to the first committed step and to the end of a run without gateway."""
    began, first = time.perf_counter(), 0.0

    def on_event(event: Event) -> None:
        nonlocal first
        if not first and isinstance(event, StepCommitted):
            first = time.perf_counter() - began

    await reasoner.reason(conversation, on_event=on_event)
    return first, time.perf_counter() - began


def overhead(steps: int, repeats: int) -> dict[str, float]:
    """Measure the overhead in milliseconds: median and 90th percentile."""
    plan = Plan("overhead", steps=steps)

    async def main(url: str) -> tuple[list[float], list[float]]:
        firsts, each = [], []
        async with (
            Reasoner(RunOptions(max_steps=10**4), open_model=plan.open) as reasoner,
            httpx2.AsyncClient() as client,
        ):
            conversation = Conversation.from_prompt(QUESTION)
            for number in range(repeats + 5):
                through = await _through(client, url, "fpsr")
                direct = await _direct(reasoner, conversation)
                if number < 5:
                    continue
                firsts.append(1e3 * (through[0] - direct[0]))
                spent = (through[1] - through[0]) - (direct[1] - direct[0])
                each.append(1e3 * spent / steps)
        return firsts, each

    with gateway(plan, aware=False) as url:
        firsts, each = anyio.run(main, url)
    found = {
        "first_byte_p50": statistics.median(firsts),
        "first_byte_p90": statistics.quantiles(firsts, n=10)[-1],
        "step_p50": statistics.median(each),
        "step_p90": statistics.quantiles(each, n=10)[-1],
    }
    print(", ".join(f"{name} {value:.2f} ms" for name, value in found.items()))
    return found


def leaving(repeats: int) -> dict[str, float]:
    """Measure the milliseconds from a disconnect until the metrics report no running request."""
    plan = Plan("leaving", target=0.02, draft=0.02, judge=0.1, steps=50)

    async def main(url: str) -> list[float]:
        took = []
        async with httpx2.AsyncClient() as client, httpx2.AsyncClient() as other:
            metrics = url.replace("/v1/chat/completions", "/metrics")
            for _ in range(repeats):
                async with client.stream("POST", url, json=_body("fpsr"), timeout=60) as response:
                    await anext(response.aiter_raw())
                left = time.perf_counter()
                while "dreamr:num_requests_running 0.0" not in (await other.get(metrics)).text:
                    pass
                took.append(1e3 * (time.perf_counter() - left))
        return took

    with gateway(plan, aware=False) as url:
        took = anyio.run(main, url)
    found = {"p50": statistics.median(took), "most": max(took)}
    print(
        f"lanes free after a disconnect: median {found['p50']:.1f} ms, max {found['most']:.1f} ms"
    )
    return found


async def _closed_loop(url: str, method: str, clients: int, requests: int) -> list[float]:
    """Run concurrent clients; return the seconds of all requests but each client's first."""
    found: list[float] = []
    limits = httpx2.Limits(max_connections=clients)

    async with httpx2.AsyncClient(limits=limits) as client:

        async def one() -> None:
            for number in range(requests + 1):
                _, whole = await _through(client, url, method)
                if number:
                    found.append(whole)

        async with anyio.create_task_group() as tasks:
            for _ in range(clients):
                tasks.start_soon(one)
    return found


def _ratio(alone: list[float], ours: list[float]) -> dict[str, float]:
    """Return the ratio of mean seconds with a 95 % bootstrap interval over requests."""
    draws = np.random.default_rng(0)
    means = [
        draws.choice(alone, len(alone)).mean() / draws.choice(ours, len(ours)).mean()
        for _ in range(1000)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    value = statistics.fmean(alone) / statistics.fmean(ours)
    return {"value": value, "low": float(low), "high": float(high)}


def load(rounds: int) -> list[dict[str, Any]]:
    """Measure the speed-up over the target alone for each pair, gateway and number of clients."""
    rows = []
    for plan in PAIRS:
        for aware in (True, False):
            with gateway(plan, aware=aware) as url:
                anyio.run(_closed_loop, url, "fpsr", 4, WARM)  # load control needs measured runs
                for clients in CONCURRENCY:
                    took: dict[str, list[float]] = {"target": [], "fpsr": []}
                    requests = 6 if clients < 4 else 3
                    for _ in range(rounds):
                        for method, found in took.items():
                            found += anyio.run(_closed_loop, url, method, clients, requests)
                    ratio = _ratio(took["target"], took["fpsr"])
                    row = {"pair": plan.name, "aware": aware, "clients": clients, "ratio": ratio}
                    rows.append({**row, "target": statistics.median(took["target"])})
                    kind = "load-aware" if aware else "unaware"
                    print(
                        f"{plan.name:6}{kind:12}{clients:4} clients: {ratio['value']:.2f} "
                        f"[{ratio['low']:.2f}, {ratio['high']:.2f}] times the target alone",
                        flush=True,
                    )
    return rows


def main() -> int:
    """Run the benchmark; return 1 if a bound is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file to write the results to")
    parser.add_argument("--only", choices=("overhead", "load"))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    content: dict[str, Any] = {"provenance": provenance()}
    good = True
    if options.only != "load":
        content["overhead"] = found = overhead(options.steps, options.repeats)
        good &= found["first_byte_p50"] < FIRST_BOUND and found["step_p50"] < STEP_BOUND
        content["leaving"] = left = leaving(max(1, options.repeats // 2))
        good &= left["most"] < LEFT_BOUND
    if options.only != "overhead":
        content["load"] = rows = load(options.rounds)
        least = min(row["ratio"]["value"] for row in rows if row["aware"])
        print(f"lowest with load control: {least:.2f}, bound {LOAD_BOUND}")
        good &= least >= LOAD_BOUND
    if options.out:
        options.out.write_text(json.dumps(content, indent=2) + "\n")
    print("ok" if good else "MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
