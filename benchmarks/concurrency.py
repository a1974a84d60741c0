"""Measure what the local engine gains from serving conversations concurrently.

    python benchmarks/concurrency.py                    # the bundled target
    python benchmarks/concurrency.py --model FOLDER     # any text or image model

For N = 1, 4 and 16 conversations, it measures N streams and N judge calls, each concurrently and
one after the other, alternately in one process on one torch thread. The prompts are prefilled
before. "gain" is the time one after the other divided by the time of concurrent serving. All
figures are medians of the rounds. On a busy machine, use --cpu-time: it measures processor time
instead of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dreamr_testbed import PAIR

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import SamplingParams
from dreamr.engines.local import LocalOptions
from dreamr.tooling import provenance

MANY = (1, 4, 16)
TOKENS = 32
PREFIX = ("So far that makes 4 apples and 3 pears.\n\n",) * 4
STEPS = ("Two more apples make 6 apples.\n\n", "So there are 9 in all.\n\n")
TARGET = PAIR / "target"
now: Callable[[], float] = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=TARGET, help="model folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cpu-time", action="store_true", help="measure processor time instead of wall time"
    )
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    if options.cpu_time:
        global now
        now = time.thread_time
    figures = measure(options.model, options.rounds)
    print(f"{'what':24}{'one at a time, ms':>20}{'side by side, ms':>20}{'gain':>8}")
    for what, figure in figures.items():
        apart, together = figure["one at a time, ms"], figure["side by side, ms"]
        print(f"{what:24}{apart:20.1f}{together:20.1f}{figure['gain']:8.2f}")
    if options.out:
        content = {
            "provenance": provenance(),
            "model": options.model.name,
            "tokens a stream": TOKENS,
            "figures": figures,
        }
        options.out.write_text(json.dumps(content, indent=2) + "\n")


def measure(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return the figures of each measurement."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as the worker does, before torch is imported
    import torch

    from dreamr.engines.local.load import load
    from dreamr.engines.local.options import read_hints

    torch.set_num_threads(1)
    with torch.inference_mode():
        loaded = load(str(folder), LocalOptions())
    loaded.ends = frozenset()
    worker = Worker(loaded, read_hints(folder).questions(), max(MANY))
    ways: dict[str, Callable[[int, bool], float]] = {
        "streams": worker.stream,
        "judge calls": worker.judge,
    }
    times: dict[tuple[str, int, bool], list[float]] = {}
    for _ in range(rounds):
        for many in MANY:
            for what, way in ways.items():
                for together in (False, True):
                    times.setdefault((what, many, together), []).append(way(many, together))
    return {
        f"{many} {what}": figure(times[what, many, False], times[what, many, True])
        for what in ways
        for many in MANY
    }


def figure(apart: list[float], together: list[float]) -> dict[str, float]:
    """Return the median times in milliseconds, and the gain."""
    one, all_at_once = statistics.median(apart), statistics.median(together)
    return {
        "one at a time, ms": 1e3 * one,
        "side by side, ms": 1e3 * all_at_once,
        "gain": one / all_at_once,
    }


class Worker:
    """A worker's scheduler with conversations that are already prefilled."""

    def __init__(self, loaded: Any, questions: Any, many: int) -> None:
        from dreamr.engines.local.ipc import Remember
        from dreamr.engines.local.judging import judging_or_reason
        from dreamr.engines.local.scheduler import Scheduler

        options = LocalOptions(ahead=TOKENS + 1)
        judging = judging_or_reason(loaded, questions, options)
        self._sent: list[Any] = []
        self._scheduler = Scheduler(loaded, judging, options, self._sent.append)
        self._calls = 0
        for key in range(many):
            self._scheduler.handle(Remember.of(key, problem(key)))
        self.judge(many, together=True)

    def stream(self, many: int, together: bool) -> float:
        """Return the seconds for all streams.

        The streams sample, because greedy ones reuse tokens from judge calls.
        """
        from dreamr.engines.local.ipc import Stream

        calls = [
            Stream(self._next(), key, PREFIX[:2], SamplingParams(TOKENS, temperature=1.0, seed=key))
            for key in range(many)
        ]
        return self._time(calls, together)

    def judge(self, many: int, together: bool) -> float:
        """Return the seconds for all judge calls, each about two new steps."""
        from dreamr.engines.local.ipc import JudgeRequest

        number = self._next()
        steps = tuple(step.replace("6", str(number)) for step in STEPS)
        calls = [JudgeRequest(self._next(), key, PREFIX, steps) for key in range(many)]
        return self._time(calls, together)

    def _next(self) -> int:
        self._calls += 1
        return self._calls

    def _time(self, calls: list[Any], together: bool) -> float:
        self._sent.clear()
        start = now()
        for number, call in enumerate(calls, 1):
            self._scheduler.handle(call)
            if not together or number == len(calls):
                while self._scheduler.work():
                    pass
        spent = now() - start
        ended = [m for m in self._sent if getattr(m, "finish", "judged") is not None]
        assert len(ended) == len(calls), self._sent[-1]
        return spent


def problem(number: int) -> Conversation:
    """Return a conversation whose prompt length depends on its number."""
    text = f"Case {number}: " + "What do tea and milk cost together? " * (8 + number % 5)
    return Conversation((Turn("user", (Text(text),)),))


if __name__ == "__main__":
    main()
