"""Measure the processor time of schedule and runner per step, with engines that cost nothing.

    python benchmarks/overhead.py [--steps 200] [--tokens 32] [--repeats 5] [--profile]

Each line is the minimum of the repeats, in microseconds of processor time on one thread. The time
of the scripted engines is measured separately and subtracted. The project's own methods must stay
below 1000 microseconds per committed step. Other methods are shown for comparison; PARSE drafts all
200 steps again after each rejection, which its figure includes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from pathlib import Path

import anyio

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, SamplingParams, ScriptedEngine
from dreamr.runner import RunConfig, run
from dreamr.schedules import METHODS, ScheduleConfig
from dreamr.tooling import provenance

TALK = Conversation((Turn("user", (Text("?"),)),))
BOUND = 1000.0
OWN = ("target", "draft", "sequential", "fpsr")


def engine(steps: int, tokens: int, every: int) -> ScriptedEngine:
    """Return an engine that writes `steps` steps of `tokens` tokens and rejects one of `every`."""
    texts = ["so " * (tokens - 1) + "on\n\n"] * steps + ["Answer: 4"]
    return ScriptedEngine(
        script=texts, opinion=lambda context, step: float(len(context.prefix) % every != 0)
    )


async def engines_alone(big: ScriptedEngine, streams: int) -> None:
    """Let the engine write the whole text `streams` times, without a schedule."""
    for _ in range(streams):
        async for _chunk in big.stream(Context(TALK), SamplingParams(max_tokens=10**9)):
            pass


def seconds(work: object, *arguments: object) -> float:
    """Return the processor time of one run of a coroutine function, in seconds."""
    start = time.process_time()
    anyio.run(work, *arguments)  # type: ignore[arg-type]
    return time.process_time() - start


def measure(method: str, steps: int, tokens: int, every: int, repeats: int) -> tuple[float, float]:
    """Return the microseconds per committed step of the whole run and of its engines."""

    async def main() -> None:
        options = ScheduleConfig(max_steps=steps + 2, max_tokens=10**9)
        settings = RunConfig(method=method, options=options)
        await run(TALK, target=big, draft=small, config=settings)

    whole = []
    for _ in range(repeats):
        big, small = engine(steps, tokens, every), engine(steps, tokens, every)
        whole.append(seconds(main))
    written = big.written + small.written
    alone = min(seconds(engines_alone, engine(steps, tokens, every), 1) for _ in range(repeats))
    per_token = alone / (steps * tokens)
    return 1e6 * min(whole) / steps, 1e6 * per_token * written / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=32, help="tokens per step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    parser.add_argument("--profile", action="store_true", help="profile fpsr instead")
    options = parser.parse_args()
    if options.profile:
        with cProfile.Profile() as profile:
            measure("fpsr", options.steps, options.tokens, 2, 1)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    print(f"{'method':12}{'rejected':>10}{'run us':>10}{'engines us':>12}{'overhead us':>13}")
    rows = []
    for method in METHODS:
        for every in (2, 4, 10**9):
            whole, alone = measure(method, options.steps, options.tokens, every, options.repeats)
            row = {"method": method, "refused_one_of": every, "run": whole, "engines": alone}
            rows.append({**row, "overhead": whole - alone})
            rejected = f"1 of {every}" if every < 10**9 else "the first"
            print(f"{method:12}{rejected:>10}{whole:10.0f}{alone:12.0f}{whole - alone:13.0f}")
    worst = max(row["overhead"] for row in rows if row["method"] in OWN)
    if options.out:
        content = {"provenance": provenance(), "microseconds_a_step": rows, "worst": worst}
        options.out.write_text(json.dumps(content, indent=2) + "\n")
    print(
        f"worst {worst:.0f} us per step, bound {BOUND:.0f}: {'ok' if worst < BOUND else 'TOO SLOW'}"
    )


if __name__ == "__main__":
    main()
