"""Measure the time per token, prompt and verdict of the local engine, with each decoder.

    python benchmarks/decode.py                    # the bundled pair
    python benchmarks/decode.py --model FOLDER     # any text or image model

All figures are medians in milliseconds, on one torch thread. The decoders are measured alternately;
a ratio is the median of the ratios of each round. "generate" is transformers' own loop. "engine" is
what a caller of the engine sees, including worker process, socket and event loop. On a busy
machine, use --cpu-time: it measures processor time instead of wall time and omits the engine.
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

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.local import LocalEngine, LocalOptions
from dreamr.tooling import provenance

TOKENS, SHARED = 96, 48
MANY = 8  # concurrent conversations
KINDS: dict[str, Any] = {"numpy": "auto", "torch": "torch"}
STEP = "So far that makes 4 apples and 3 pears.\n\n"
now: Callable[[], float] = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", default=[], help="model folder; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cpu-time", action="store_true", help="measure processor time instead of wall time"
    )
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    if options.cpu_time:
        global now
        now = time.thread_time
    folders = options.model or [PAIR / "target", PAIR / "draft"]
    print(f"{'model':10}{'what':28}{'numpy, ms':>12}{'torch, ms':>12}{'torch/numpy':>13}")
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for folder in map(Path, folders):
        figures[folder.name] = measure(folder, options.rounds)
        for what, costs in figures[folder.name].items():
            cells = f"{costs.get('numpy', math.nan):12.2f}{costs['torch']:12.2f}"
            print(f"{folder.name:10}{what:28}{cells}{costs.get('ratio', math.nan):13.2f}")
    if options.out:
        content = {
            "provenance": provenance(),
            "cpu time": options.cpu_time,
            "rounds": options.rounds,
            "milliseconds": figures,
        }
        options.out.write_text(json.dumps(content, indent=2) + "\n")


def measure(path: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return, for each measurement, the milliseconds of each decoder and their ratio."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as the worker does, before torch is imported
    import torch

    from dreamr.engines.local.allocator import keep_freed_memory
    from dreamr.engines.local.load import load
    from dreamr.engines.local.options import read_hints

    questions = read_hints(path).questions()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the worker does
    talk = question()
    times: dict[tuple[str, str], list[float]] = {}
    with torch.inference_mode():
        models = {name: load(str(path), LocalOptions(decoder=kind)) for name, kind in KINDS.items()}
        for loaded in models.values():
            loaded.ends = frozenset()
        for _ in range(rounds):
            for name, loaded in models.items():
                workers = Workers(loaded, questions)
                found = {
                    "a token": streamed(loaded, talk),
                    "a prompt of 260 tokens": read(loaded, talk),
                    "a verdict": judged(loaded, talk, questions, 1),
                    "verdicts on 3 steps": judged(loaded, talk, questions, 3),
                    f"a token of {MANY} streams": workers.streams(),
                    f"{MANY} verdicts": workers.verdicts(),
                }
                for what, seconds in found.items():
                    times.setdefault((what, name), []).append(seconds)
            spent = generated(models["torch"], talk)
            times.setdefault(("a token, generate", "torch"), []).append(spent)
            if now is not time.perf_counter:
                continue
            for name in models:
                spent = asyncio.run(served(path, talk, LocalOptions(decoder=KINDS[name])))
                times.setdefault(("a token, engine", name), []).append(spent)
    return figures_of(times)


def figures_of(times: dict[tuple[str, str], list[float]]) -> dict[str, dict[str, float]]:
    """Return medians in milliseconds, and the median of the ratios of each round."""
    found: dict[str, dict[str, float]] = {}
    for (what, name), seconds in times.items():
        found.setdefault(what, {})[name] = 1e3 * statistics.median(seconds)
    for what, costs in found.items():
        if len(costs) == 2:
            pairs = zip(times[what, "torch"], times[what, "numpy"], strict=True)
            costs["ratio"] = statistics.median(one / other for one, other in pairs)
    return found


class Workers:
    """A worker's scheduler with several conversations that are already prefilled."""

    def __init__(self, loaded: Any, questions: Any) -> None:
        from dreamr.engines.local.ipc import Remember
        from dreamr.engines.local.judging import judging_or_reason
        from dreamr.engines.local.scheduler import Scheduler

        options = LocalOptions(ahead=SHARED + 1, gather=0.0)
        judging = judging_or_reason(loaded, questions, options)
        self._sent: list[Any] = []
        self._scheduler = Scheduler(loaded, judging, options, self._sent.append)
        for key in range(MANY):
            self._scheduler.handle(Remember.of(key, question(f"Case {key}: ", 8 + key % 5)))
        self.verdicts()

    def streams(self) -> float:
        """Return the seconds per token of each stream.

        The streams sample, because greedy ones reuse tokens from judge calls.
        """
        from dreamr.engines.local.ipc import Stream

        for key in range(MANY):
            sampling = SamplingParams(SHARED, temperature=1.0, seed=key, token_reuse=False)
            self._scheduler.handle(Stream(key, key, (STEP,), sampling))
        self._sent.clear()
        while len({piece.call for piece in self._sent}) < MANY:
            self._scheduler.work()
        made, start = len(self._sent), now()
        self._finish()
        return (now() - start) / ((len(self._sent) - made) / MANY)

    def verdicts(self) -> float:
        """Return the seconds of a judge call on one step of each conversation."""
        from dreamr.engines.local.ipc import JudgeRequest

        self._sent.clear()
        for key in range(MANY):
            self._scheduler.handle(
                JudgeRequest(MANY + key, key, (STEP,), (STEP.replace("4", "5"),))
            )
        start = now()
        self._finish()
        assert len(self._sent) == MANY, self._sent
        return now() - start

    def _finish(self) -> None:
        while self._scheduler.work():
            pass


def generated(loaded: Any, talk: Conversation) -> float:
    """Return the seconds per token of transformers' `generate`."""
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
    """Return the seconds per token of a stream, without worker process."""
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
    """Return the seconds to prefill 260 tokens."""
    from dreamr.engines.local.forward_pass import alone
    from dreamr.engines.local.session import Session

    session = Session(loaded, talk)
    ids = (session.prompt * 300)[:260]
    branch = session.acquire("stream", ids)
    start = now()
    alone(session.feed(branch, ids, 512), loaded.model.run)
    return now() - start


def judged(loaded: Any, talk: Conversation, questions: Any, steps: int) -> float:
    """Return the seconds to judge a number of steps after a prefix that is already read."""
    from dreamr.engines.local.judging import Judging
    from dreamr.engines.local.session import Session

    judging = Judging(loaded, questions, LocalOptions().labels, 512)
    session = Session(loaded, talk)
    prefix = [STEP] * 4
    judging.judge(session, prefix, [STEP])
    start = now()
    judging.judge(session, prefix, [STEP.replace("4", "5")] * steps)
    return now() - start


async def served(path: Path, talk: Conversation, options: LocalOptions) -> float:
    """Return the seconds per token of a stream of the engine."""
    async with LocalEngine(str(path), options) as engine:
        arrivals = [
            (time.perf_counter(), chunk.tokens)
            async for chunk in engine.stream(Context(talk), SamplingParams(TOKENS + 1))
        ]
    tokens = sum(count for _, count in arrivals[1:])
    return (arrivals[-1][0] - arrivals[0][0]) / tokens if tokens else math.nan


def question(before: str = "", times: int = 8) -> Conversation:
    """Return a conversation; `times` sets the length of its prompt."""
    text = before + "What do tea and milk cost together? " * times
    return Conversation((Turn("user", (Text(text),)),))


if __name__ == "__main__":
    main()
