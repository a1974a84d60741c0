"""Compare methods on emulated model servers, whose work is time.

    python benchmarks/emulated.py --out FILE.json                    # in virtual time
    python benchmarks/emulated.py --http --clients 1 --problems 12   # over real HTTP

A draft and a target of the test bed's emulator (`dreamr_testbed.emulator`) serve the HTTP engine at
the rates of named models on an H100. The draft is right at the stated rates, so all figures are of
emulated models, never measurements of real ones. In virtual time the seconds are those of the
servers alone. `--http` starts the servers and waits for real, so the client's own time counts too;
use it on an idle machine.

For each pair, acceptance and number of clients, all methods solve the same problems. For one client
the result also has FPSR in the simulator with ideal costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from multiprocessing import Pool
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import anyio
import httpx2
from dreamr_testbed.emulator import Chain, Chains, Rates, build_app, load_chains, split_tokens
from dreamr_testbed.emulator.virtual import VirtualTransport, run_virtual

from dreamr import RunOptions
from dreamr._load import PairLoad
from dreamr.conversation import Text
from dreamr.engines import Engine
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.prompts import Questions
from dreamr.evaluation.simulator import Costs, Devices, run_scripts
from dreamr.evaluation.simulator.script import DraftedStep, Script, TargetStep
from dreamr.evaluation.tasks import Item
from dreamr.runner import run
from dreamr.schedules import ScheduleConfig
from dreamr.steps import Role
from dreamr.tooling import provenance

METHODS = ("target", "sequential", "specreason", "parse", "lookahead", "fpsr")
ACCEPTANCES = (0.3, 0.5, 0.65, 0.8, 0.9, 0.98)
CLIENTS = (1, 4, 32)
LATENCY = 0.0005  # seconds from client to server, one way, in virtual time
WARM_UP = 3
TURN = 2  # tokens that open and end a turn
PORTS = {"draft": 8471, "target": 8472}


@dataclass(frozen=True, slots=True)
class Pair:
    """Emulated models, by their sizes in the simulator's table, and their prefix cache."""

    draft: str
    target: str
    block: int = 16


PAIRS = {
    "2B/32B": Pair("2B", "32B"),
    "4B/32B": Pair("4B", "32B"),
    "hybrid 4B/32B": Pair("4B", "32B", block=528),
}


@dataclass(frozen=True, slots=True)
class Point:
    """A set of conditions, and the method that is measured in them."""

    pair: str
    acceptance: float
    clients: int
    method: str
    problems: int
    warm_up: int = WARM_UP


@asynccontextmanager
async def virtual(pair: Pair, chains: Chains) -> AsyncIterator[dict[Role, Engine]]:
    """Open the engines of a pair in virtual time."""
    async with AsyncExitStack() as stack:
        engines: dict[Role, Engine] = {}
        roles: dict[Role, str] = {"draft": pair.draft, "target": pair.target}
        for role, model in roles.items():
            app = build_app(role, chains, Rates.named(model, "H100", block=pair.block))
            engine = HttpEngine(HttpOptions(f"http://{role}/v1"), VirtualTransport(app, LATENCY))
            engines[role] = await stack.enter_async_context(engine)
        yield engines


@asynccontextmanager
async def served(pair: Pair, chains: Chains) -> AsyncIterator[dict[Role, Engine]]:
    """Start the servers of a pair, and open their engines."""
    async with AsyncExitStack() as stack:
        engines: dict[Role, Engine] = {}
        roles: dict[Role, str] = {"draft": pair.draft, "target": pair.target}
        for role, model in roles.items():
            command = [
                sys.executable, "-m", "dreamr_testbed.emulator", role, "--model", model, "--block",
                str(pair.block), "--acceptance", str(chains.acceptance), "--port", str(PORTS[role]),
            ]  # fmt: skip
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.terminate)
        for role in roles:
            url = f"http://127.0.0.1:{PORTS[role]}"
            await _wait(url)
            engine = HttpEngine(HttpOptions(f"{url}/v1"))
            engines[role] = await stack.enter_async_context(engine)
        yield engines


async def _wait(url: str) -> None:
    with anyio.fail_after(60):
        async with httpx2.AsyncClient() as client:
            while True:
                try:
                    await client.get(f"{url}/health")
                    return
                except httpx2.TransportError:
                    await anyio.sleep(0.1)


async def solve_all(point: Point, open_pair: Callable[..., Any]) -> dict[str, Any]:
    """Solve the problems of a point, and return its figures."""
    chains, load, clock = Chains(point.acceptance), PairLoad(), asyncio.get_running_loop().time
    options = RunOptions(
        method=point.method,  # type: ignore[arg-type]
        target="http://target/v1",
        draft="http://draft/v1",
    )
    seconds: list[float] = []
    steps, right = 0, 0
    async with open_pair(PAIRS[point.pair], chains) as engines:

        async def solve(item: Item) -> None:
            nonlocal steps, right
            started = clock()
            with load.run(options, engines["target"]) as shaped:
                config = shaped.options.run_config()
                result = await run(item.conversation, **engines, config=config)
                shaped.learn(result)
            seconds.append(clock() - started)
            steps += len(result.steps)
            right += item.right(result.text)

        before = point.warm_up * point.clients
        await _all(solve, list(load_chains(chains, before, 1, "test")), point)
        seconds.clear()
        steps = right = 0
        started, busy = clock(), time.process_time()
        await _all(solve, list(load_chains(chains, point.problems, 0, "test")), point)
        wall, busy = clock() - started, time.process_time() - busy
    spread = 1.96 * stdev(seconds) / len(seconds) ** 0.5
    return {
        **asdict(point),
        "seconds": fmean(seconds),
        "margin": spread,
        "requests a second": point.problems / wall,
        "steps": steps / point.problems,
        "right": right / point.problems,
        "processor ms a step": 1e3 * busy / steps,  # of this process; the servers' in virtual time
    }


async def _all(solve: Callable[[Item], Any], items: Sequence[Item], point: Point) -> None:
    limit = anyio.CapacityLimiter(point.clients)

    async def one(item: Item) -> None:
        async with limit:
            await solve(item)

    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(one, item)


def measure(point: Point, *, http: bool = False) -> dict[str, Any]:
    """Measure one method at one point."""
    if http:
        return asyncio.run(solve_all(point, served))
    return run_virtual(solve_all(point, virtual))


def ideal(pair: Pair, acceptance: float, problems: int) -> float:
    """Return the mean seconds of FPSR in the simulator, with ideal costs, on the same problems.

    Judge calls and prompts are read at the rates of the models, and nothing else takes time: no
    messages, no opening of lanes, no waiting for a pass to end.
    """
    chains = Chains(acceptance)
    items = load_chains(chains, problems, 0, "test")
    question = len(split_tokens(Questions().verdict)) + TURN
    prompt = round(fmean(len(split_tokens(_text(item))) for item in items)) + TURN
    draft, target = (Rates.named(model, "H100") for model in (pair.draft, pair.target))
    costs = Costs(
        draft.token,
        target.token,
        judge=target.token + target.reading * (question + pair.block / 2),
        judge_token=target.reading,
        prompt_draft=draft.token + draft.reading * prompt,
        prompt_target=target.token + target.reading * prompt,
    )
    scripts = [_script(Chain(int(item.id), chains)) for item in items]
    options = ScheduleConfig(resamples=3, judge_batch="step")
    return run_scripts(scripts, "fpsr", options, costs, Devices()).latency


def _text(item: Item) -> str:
    parts = (part for turn in item.conversation.turns for part in turn.parts)
    return " ".join(part.text for part in parts if isinstance(part, Text))


def _script(chain: Chain) -> Script:
    common = chain.common
    drafted, target = [], []
    for position in range(chain.length):
        resample = next(
            (
                number
                for number in range(1, 4)
                if chain.is_right(position, chain.step("draft", position, number))
            ),
            0,
        )
        accepted = chain.is_right(position, chain.step("draft", position))
        drafted.append(DraftedStep(common.draft_tokens, accepted, resample=resample))
        target.append(TargetStep(common.target_tokens, common.target_tokens))
    drafted.append(DraftedStep(2, True, draft_end=True))
    target.append(TargetStep(2, 2))
    return Script(drafted, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", action="append", choices=sorted(PAIRS), help="default: all")
    parser.add_argument("--method", action="append", help="default: all step-level methods")
    parser.add_argument("--acceptance", action="append", type=float, help="default: 0.3 to 0.98")
    parser.add_argument("--clients", action="append", type=int, help="default: 1, 4 and 32")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="problems per client before")
    parser.add_argument("--http", action="store_true", help="over real HTTP, in real time")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    points = [
        Point(pair, acceptance, clients, method, options.problems, options.warm_up)
        for pair, acceptance, clients, method in product(
            options.pair or PAIRS,
            options.acceptance or ACCEPTANCES,
            options.clients or CLIENTS,
            options.method or METHODS,
        )
    ]
    rows = []
    with Pool(1 if options.http else options.processes) as pool:
        for row in pool.imap(partial(measure, http=options.http), points):
            rows.append(row)
            print(
                f"{row['pair']:15}{row['acceptance']:6.2f}{row['clients']:4}  {row['method']:12}"
                f"{row['seconds']:8.3f} s{row['requests a second']:8.3f}/s{row['right']:6.2f}",
                flush=True,
            )
    ideals = [
        {"pair": pair, "acceptance": acceptance, "seconds": ideal(PAIRS[pair], acceptance, count)}
        for pair, acceptance in product(options.pair or PAIRS, options.acceptance or ACCEPTANCES)
        for count in (options.problems,)
    ]
    for row in ideals:
        print(f"{row['pair']:15}{row['acceptance']:6.2f}   1  {'ideal':12}{row['seconds']:8.3f} s")
    if options.out:
        content = {
            "provenance": provenance(),
            "emulated": True,
            "time": "real" if options.http else "virtual",
            "rows": rows,
            "ideal": ideals,
        }
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
