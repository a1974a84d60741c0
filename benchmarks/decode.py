"""What a token, a prompt and a judging pass cost a local engine, against transformers' generate.

    python benchmarks/decode.py                    # the embedded pair
    python benchmarks/decode.py --model FOLDER     # any text or picture model

All figures are medians in milliseconds, on one torch thread, taken in turns. "engine" is what a
caller sees: the worker process, the socket and the event loop are in it. On a busy machine take
--cpu-time: all but the engine's are then of the processor's time, not of the clock's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dreamr_testbed import PAIR

from dreamr._provenance import provenance
from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.local import LocalEngine, LocalOptions

TOKENS = 96
STEP = "So far that makes 4 apples and 3 pears.\n\n"
now: Callable[[], float] = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", default=[], help="a model folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="count processor time")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    if options.cpu_time:
        global now
        now = time.thread_time
    folders = options.model or [PAIR / "target", PAIR / "draft"]
    print(f"{'model':18}{'what':34}{'ms':>8}")
    costs: dict[str, dict[str, float]] = {}
    for folder in map(Path, folders):
        costs[folder.name] = measure(folder, options.rounds)
        for what, cost in costs[folder.name].items():
            print(f"{folder.name:18}{what:34}{cost:8.2f}")
    if options.out:
        content = {"provenance": provenance(), "milliseconds": costs}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


def measure(path: Path, rounds: int) -> dict[str, float]:
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as the worker does, before torch is imported
    import torch

    from dreamr.engines.local.load import load
    from dreamr.engines.local.options import read_hints

    questions = read_hints(path).questions()
    torch.set_num_threads(1)
    talk = question()
    with torch.inference_mode():
        plain = load(str(path), LocalOptions(decoder="torch"))
        lean = load(str(path), LocalOptions())
        for loaded in (plain, lean):
            loaded.ends = frozenset()
        ways: dict[str, Callable[[], float]] = {
            "generate, per token": lambda: generated(plain, talk),
            "modules, per token": lambda: streamed(plain, talk),
            "lean, per token": lambda: streamed(lean, talk),
            "modules, prompt of 260 tokens": lambda: read(plain, talk),
            "lean, prompt of 260 tokens": lambda: read(lean, talk),
            "modules, judge 3 steps": lambda: judged(plain, talk, questions),
            "lean, judge 3 steps": lambda: judged(lean, talk, questions),
            "engine, per token": lambda: asyncio.run(served(path, talk)),
        }
        times: dict[str, list[float]] = {what: [] for what in ways}
        for _ in range(rounds):
            for what, way in ways.items():
                times[what].append(way())
    return {what: 1e3 * statistics.median(values) for what, values in times.items()}


def generated(loaded: Any, talk: Conversation) -> float:
    import torch

    ids = torch.tensor([loaded.prompter.opening(talk)])
    taken = []
    for tokens in (1, TOKENS + 1):
        start = now()
        loaded.model.hf.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            do_sample=False,
        )
        taken.append(now() - start)
    return (taken[1] - taken[0]) / TOKENS


def streamed(loaded: Any, talk: Conversation) -> float:
    from dreamr.engines.local.session import Session
    from dreamr.engines.local.stream import StreamTask

    sampling = SamplingParams(TOKENS + 1)
    task = StreamTask(1, Session(loaded, talk), (), sampling, loaded=loaded, credit=0, prefill=512)
    while task.advance() is None:
        pass
    start = now()
    for _ in range(TOKENS):
        task.advance()
    return (now() - start) / TOKENS


def read(loaded: Any, talk: Conversation) -> float:
    from dreamr.engines.local.forward_pass import alone
    from dreamr.engines.local.session import Session

    session = Session(loaded, talk)
    ids = (session.prompt * 300)[:260]
    branch = session.acquire("stream", ids)
    start = now()
    alone(session.feed(branch, ids, 512), loaded.model.run)
    return now() - start


def judged(loaded: Any, talk: Conversation, questions: Any) -> float:
    from dreamr.engines.local.judging import Judging
    from dreamr.engines.local.session import Session

    judging = Judging(loaded, questions, LocalOptions().labels, 512)
    session = Session(loaded, talk)
    prefix = [STEP] * 4
    judging.judge(session, prefix, [STEP])
    start = now()
    judging.judge(session, prefix, [STEP.replace("4", "5")] * 3)
    return now() - start


async def served(path: Path, talk: Conversation) -> float:
    async with LocalEngine(str(path)) as engine:
        arrivals = [
            (time.perf_counter(), chunk.tokens)
            async for chunk in engine.stream(Context(talk), SamplingParams(TOKENS + 1))
        ]
    tokens = sum(count for _, count in arrivals[1:])
    return (arrivals[-1][0] - arrivals[0][0]) / tokens if tokens else math.nan


def question() -> Conversation:
    return Conversation((Turn("user", (Text("What do tea and milk cost together? " * 8),)),))


if __name__ == "__main__":
    main()
