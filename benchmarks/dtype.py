"""Measure local models in float32 and in bfloat16 on a CPU.

    python benchmarks/dtype.py speed     # products, passes, and where a pass spends its time
    python benchmarks/dtype.py paired    # answers and verdicts on the same problems

Times of speed are medians of processor time, on one torch thread. Both types are measured in turns;
a ratio is the median of the ratios of each round. Passes of few rows are in float32 in both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import decode
from decode import Workers, judged, question, read, streamed
from dreamr_testbed import PAIR

from dreamr import RunOptions
from dreamr.engines import Context, Engine, ModelSource, open_model
from dreamr.engines.local import LocalOptions
from dreamr.evaluation.report.statistics import median_ratio, paired_difference
from dreamr.evaluation.tasks import Item, default_tasks, load
from dreamr.runner import run
from dreamr.tooling import provenance

DTYPES: tuple[Any, ...] = ("float32", "bfloat16")
ROWS = (1, 8, 36, 120, 260)
THRESHOLD = 0.7  # of the ratio gate
MODELS = ("target", "draft")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "paired"])
    parser.add_argument("--rounds", type=int, default=15, help="rounds of speed")
    parser.add_argument("--limit", type=int, default=1000, help="problems of each suite")
    parser.add_argument("--minutes", type=float, default=1e6, help="end after this time")
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    if options.what == "speed":
        figures: Any = speed(options.rounds)
    else:
        figures = asyncio.run(paired(options.limit, 60 * options.minutes))
    print(json.dumps(figures, indent=1))
    if options.out:
        content = {"provenance": provenance(), **figures}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


# Speed


def speed(rounds: int) -> dict[str, Any]:
    """Return the milliseconds of products and of passes, for each model and type."""
    import torch

    from dreamr.engines.local.allocator import keep_freed_memory
    from dreamr.engines.local.load import load as load_model

    torch.set_num_threads(1)
    keep_freed_memory()  # as workers do
    decode.now = time.thread_time
    figures: dict[str, Any] = {}
    with torch.inference_mode():
        for name in MODELS:
            folder = PAIR / name
            models = {dtype: load_model(str(folder), LocalOptions(dtype=dtype)) for dtype in DTYPES}
            for loaded in models.values():
                loaded.ends = frozenset()
            figures[name] = {
                "products of a layer": products(models["float32"], rounds),
                "passes": passes(folder, models, rounds),
                "parts of a prompt": parts(models, rounds),
            }
    return {"rounds": rounds, "milliseconds": figures}


def products(loaded: Any, rounds: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of the four products of a layer, by number of rows."""
    import numpy as np

    from dreamr.engines.local.cpu.decode_step import as_numpy
    from dreamr.engines.local.cpu.matmul import Bfloat16Products, Float32Products

    def buffer(name: str, *shape: int) -> Any:
        size = int(np.prod(shape))
        kept = buffers.setdefault((name, shape), np.empty(size, np.float32))
        return kept.reshape(shape)

    buffers: dict[Any, Any] = {}
    layer = loaded.model.decoder._layers[0]
    matrices = [as_numpy(part).T for part in (layer.qkv, layer.out, layer.gates, layer.down)]
    kinds = {"float32": Float32Products(0, buffer), "bfloat16": Bfloat16Products()}
    made = {name: [kind.of(matrix) for matrix in matrices] for name, kind in kinds.items()}
    draws = np.random.default_rng(0)
    found = {}
    for rows in ROWS:
        inputs = [draws.standard_normal((rows, m.shape[1]), np.float32) for m in matrices]
        times = 1 + 500 // rows

        def work(name: str, inputs: Any = inputs, times: int = times) -> float:
            start = time.thread_time()
            for _ in range(times):
                for product, x in zip(made[name], inputs, strict=True):
                    product(x, "any")
            return (time.thread_time() - start) / times

        found[str(rows)] = in_turns(work, rounds)
    return found


def passes(folder: Path, models: Mapping[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of what the engine does."""
    from dreamr.engines.local.options import read_hints

    questions, talk = read_hints(folder).questions(), question()
    workers = {name: Workers(loaded, questions) for name, loaded in models.items()}
    work: dict[str, Callable[[str], float]] = {
        "a token": lambda name: streamed(models[name], talk),
        "a prompt of 260 tokens": lambda name: read(models[name], talk),
        "a verdict": lambda name: judged(models[name], talk, questions, 1),
        "verdicts on 3 steps": lambda name: judged(models[name], talk, questions, 3),
        "8 verdicts": lambda name: workers[name].verdicts(),
    }
    return {what: in_turns(one, rounds) for what, one in work.items()}


def parts(models: Mapping[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of the parts of a prompt of 260 tokens, and of an image."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    talk = question()
    for name, loaded in models.items():
        layers = loaded.model.decoder._rows._many
        taken: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            with timed(layers) as spent:
                taken["all"].append(read(loaded, talk))
            for part, seconds in spent.items():
                taken[part].append(seconds)
        for part, seconds in medians(taken):
            found[part][name] = seconds
        known = sum(seconds for part, seconds in medians(taken) if part != "all")
        found["rest"][name] = found["all"][name] - known
    if models["float32"].model.takes_images:
        from PIL import Image

        image = Image.new("RGB", (256, 256), "white")
        times = []
        for _ in range(rounds):
            start = time.thread_time()
            models["float32"].model.look(image)
            times.append(time.thread_time() - start)
        found["an image, before the prompt"]["float32"] = 1e3 * statistics.median(times)
    return found


def medians(taken: Mapping[str, list[float]]) -> list[tuple[str, float]]:
    """Return the medians in milliseconds, by name."""
    return [(name, 1e3 * statistics.median(seconds)) for name, seconds in taken.items()]


@contextmanager
def timed(layers: list[Any]) -> Iterator[dict[str, float]]:
    """Yield the seconds that layers spend in their parts."""
    spent: dict[str, float] = defaultdict(float)

    def wrapped(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*given: Any, **options: Any) -> Any:
            start = time.thread_time()
            try:
                return work(*given, **options)
            finally:
                spent[name] += time.thread_time() - start

        return timing

    names = {"_attend": "attention", "_turn": "rotation"}
    names |= dict.fromkeys(("_qkv", "_out", "_gates", "_down"), "products")
    kept = [(layer, part, layer.__dict__.get(part)) for layer in layers for part in names]
    for layer, part, _ in kept:
        setattr(layer, part, wrapped(names[part], getattr(layer, part)))
    try:
        yield spent
    finally:
        for layer, part, before in kept:
            if before is None:
                delattr(layer, part)
            else:
                setattr(layer, part, before)


def in_turns(work: Callable[[str], float], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each type, and of float32 over bfloat16."""
    times: dict[str, list[float]] = {name: [] for name in DTYPES}
    for number in range(rounds):
        for name in DTYPES if number % 2 else DTYPES[::-1]:
            times[name].append(work(name))
    found = {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}
    turns = zip(*(times[name] for name in DTYPES), strict=True)
    return found | {"float32/bfloat16": statistics.median(one / other for one, other in turns)}


# Answers and verdicts


async def paired(limit: int, seconds: float) -> dict[str, Any]:
    """Return how answers, verdicts and times of the types differ, by suite."""
    end = time.monotonic() + seconds
    engines = {
        (role, dtype): (await open_model(ModelSource(role=role, dtype=dtype))).engine
        for role in MODELS
        for dtype in DTYPES
    }
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    try:
        suites = {name: load(name, limit=limit) for name in default_tasks()}
        for number in range(limit):
            for name, items in suites.items():
                if time.monotonic() < end:
                    rows[name].append(await compared(items[number], number, engines))
    finally:
        for engine in engines.values():
            await engine.aclose()
    return {name: summary(found) for name, found in rows.items()}


async def compared(
    item: Item, number: int, engines: Mapping[tuple[str, str], Engine]
) -> dict[str, Any]:
    """Solve a problem in both types, and judge the steps of the draft in float32 in both."""
    row: dict[str, Any] = {}
    for method in ("draft", "target", "fpsr"):
        for dtype in DTYPES if number % 2 else DTYPES[::-1]:
            result = await solved(item, method, dtype, engines)
            steps = [step.step.text for step in result.steps]
            row[method, dtype] = (item.right(result.answer), result.seconds, "".join(steps))
            if (method, dtype) == ("draft", "float32"):
                drafted = steps[:-1]  # the last one is the answer
    row["scores"] = {
        dtype: [
            one.positive / (one.positive + one.negative or 1)
            for one in await engines["target", dtype].judge(Context(item.conversation), drafted)
        ]
        for dtype in DTYPES
        if drafted
    }
    return row


async def solved(
    item: Item, method: Any, dtype: str, engines: Mapping[tuple[str, str], Engine]
) -> Any:
    """Run a method from a cold start."""
    options = RunOptions(method=method, temperature=0.0)
    used = {role: engines[role, dtype] for role in options.roles}
    for engine in used.values():
        engine.forget(item.conversation)
    return await run(
        item.conversation,
        target=used.get("target"),
        draft=used.get("draft"),
        config=options.run_config(),
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a suite."""
    found: dict[str, Any] = {"problems": len(rows)}
    for method in ("draft", "target", "fpsr"):
        before, after = (
            {key: [row[method, dtype][at] for row in rows] for at, key in enumerate(KEYS)}
            for dtype in DTYPES
        )
        right, other = before["right"], after["right"]
        difference = paired_difference([float(one) for one in right], [float(o) for o in other])
        times = median_ratio(before["seconds"], after["seconds"])
        found[method] = {
            "right": {"float32": sum(right), "bfloat16": sum(other)},
            "only float32 right": sum(a and not b for a, b in zip(right, other, strict=True)),
            "only bfloat16 right": sum(b and not a for a, b in zip(right, other, strict=True)),
            "difference of accuracy": [difference.value, difference.low, difference.high],
            "same text": sum(a == b for a, b in zip(before["text"], after["text"], strict=True)),
            "float32/bfloat16 seconds": [times.value, times.low, times.high],
        }
    scores = [
        pair
        for row in rows
        if row["scores"]
        for pair in zip(*(row["scores"][dtype] for dtype in DTYPES), strict=True)
    ]
    found["verdicts"] = {
        "steps": len(scores),
        "same decision": sum((a >= THRESHOLD) == (b >= THRESHOLD) for a, b in scores),
        "accepted in float32 only": sum(a >= THRESHOLD > b for a, b in scores),
        "accepted in bfloat16 only": sum(b >= THRESHOLD > a for a, b in scores),
        "mean difference of scores": statistics.mean([abs(a - b) for a, b in scores] or [0.0]),
        "largest difference of scores": max([abs(a - b) for a, b in scores], default=0.0),
    }
    return found


KEYS = ("right", "seconds", "text")


if __name__ == "__main__":
    main()
