"""Measure the processor time that a judge call over HTTP takes in the client.

    python benchmarks/http_overhead.py --out FILE.json

The emulated target of the test bed answers, in a process of its own. A request after a wait costs
more than one right after another, so a bare POST of the HTTP library waits as long before each
request as a judge call waits for its answer. The three are measured in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import fmean, stdev

import httpx2
from dreamr_testbed.emulator import Chains, load_chains
from emulated import PAIRS, PORTS, served

from dreamr.engines import Context
from dreamr.gate import Query
from dreamr.tooling import provenance

ACCEPTANCE = 0.8
WAIT = 0.037  # seconds, as a judge call of the emulated target
BODY = json.dumps({"text": "y" * 1500}).encode()  # bytes, as a judge call of a few steps
STEPS = ("So the first value is three.\n", "So the second value is six.\n")


async def measure(rounds: int, calls: int) -> dict[str, dict[str, float]]:
    """Return milliseconds of processor time by what was done, mean and 95 % margin."""
    chains = Chains(ACCEPTANCE)
    conversation = next(iter(load_chains(chains, 1, 0, "test"))).conversation
    url = f"http://127.0.0.1:{PORTS['target']}/nothing"
    async with served(PAIRS["2B/32B"], chains) as engines, httpx2.AsyncClient() as client:
        context, query = Context(conversation, STEPS[:1]), Query()

        async def judge() -> None:
            await engines["target"].judge(context, STEPS[1:], query)

        async def post() -> None:
            await asyncio.sleep(WAIT)
            await client.post(url, content=BODY)

        async def wait() -> None:
            await asyncio.sleep(WAIT)

        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "judge call": judge,
            "bare POST": post,
            "wait": wait,
        }
        found: dict[str, list[float]] = {name: [] for name in actions}
        for number in range(rounds + 1):
            for name, action in actions.items():
                start = time.process_time()
                for _ in range(calls):
                    await action()
                if number:  # after the warm-up
                    found[name].append(1e3 * (time.process_time() - start) / calls)
    return {
        name: {"ms": fmean(values), "margin": 1.96 * stdev(values) / len(values) ** 0.5}
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.rounds, options.calls))
    print(json.dumps(figures, indent=2))
    if options.out:
        content = {"provenance": provenance(), "emulated": True, "figures": figures}
        options.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
