"""Tables of the local engine, and of schedule and runner."""

from __future__ import annotations

from collections.abc import Iterable

from tables.figures import (
    Table,
    counted,
    grid,
    load,
    plain,
)


def decode() -> Iterable[str]:
    """Yield milliseconds of the parts of the local engine."""
    found = load("decode.json")["milliseconds"]
    names = {
        "engine, per token": "decode one token",
        "lean, prompt of 260 tokens": "prefill of 260 tokens",
        "lean, judge 3 steps": "judge three steps",
        "modules, per token": "decode one token, transformers modules",
        "generate, per token": "decode one token, `generate`",
    }
    rows = (
        [text, *(plain(found[m][key]) for m in ("target", "draft"))] for key, text in names.items()
    )
    return grid(["milliseconds", "target", "draft"], rows)


def decoders() -> Iterable[str]:
    """Yield the ratio of the torch decoder to the NumPy one."""
    found = load("decode-decoders.json")["milliseconds"]
    rows = (
        [name, *(plain(found[m][name]["ratio"]) for m in ("target", "draft"))]
        for name in found["target"]
        if "ratio" in found["target"][name]
    )
    return grid(["torch time / NumPy time", "target", "draft"], rows)


def shared() -> Iterable[str]:
    """Yield what shared passes gain."""
    found = load("worker-concurrency.json")["figures"]
    rows = (
        [
            counted(name),
            f"{f['one at a time, ms']:.0f}",
            f"{f['side by side, ms']:.0f}",
            plain(f["gain"]),
        ]
        for name, f in found.items()
    )
    return grid(["target", "one at a time, ms", "shared passes, ms", "gain"], rows)


def overhead() -> Iterable[str]:
    """Yield processor time of schedule and runner."""
    rows = []
    for row in load("overhead.json")["microseconds_a_step"]:
        rejected = row["refused_one_of"]
        share = "none" if rejected > 1000 else f"one in {rejected}"
        rows.append([row["method"], share, f"{row['overhead']:.0f}"])
    return grid(["method", "rejected steps", "µs per step"], rows)


TABLES: dict[str, Table] = {
    "decode": decode,
    "decoders": decoders,
    "shared": shared,
    "overhead": overhead,
}
