"""Tables of benches: methods, suites, and problems side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tables.figures import (
    SUITES,
    Figure,
    Table,
    grid,
    interval,
    load,
    means,
    percent,
    plain,
)

LONG = ("pages", "clip", "docmath-hard:1", "story-hard:1", "vqa-hard:1")

COLUMNS: dict[str, Callable[[Figure], str]] = {
    "speed-up": lambda f: interval(f["speedup"]),
    "per token": lambda f: plain(f["time_gain"]),
    "tokens": lambda f: plain(f["tokens_gain"]),
    "accuracy": lambda f: percent(f["accuracy"]),
    "accuracy, %": lambda f: interval(f["accuracy"], 1, 100),
    "difference": lambda f: (
        "" if f["method"] == "target" else interval(f["difference"], 1, 100, "+")
    ),
    "regressions, %": lambda f: (
        "" if f["method"] == "target" else interval(f.get("regressions"), 2, 100)
    ),
    "false accepts": lambda f: percent(f["false_accepts"]),
    "accepted tokens": lambda f: percent(f["token_acceptance"]),
    "accepted steps": lambda f: percent(f["acceptance"]),
    "efficiency": lambda f: plain(f["efficiency"]),
    "median latency, ms": lambda f: f"{1000 * f['latency_p50']:.0f}",
    "problems/s": lambda f: f"{f['throughput']:.1f}",
}


def bench(
    file: str, columns: Sequence[str], methods: Sequence[str] = (), concurrency: int = 1
) -> Table:
    """Return a table of the methods of a bench."""

    def table() -> Iterable[str]:
        found = means(file, concurrency)
        rows = ([name, *(COLUMNS[c](found[name]) for c in columns)] for name in methods or found)
        return grid(["method", *columns], rows)

    return table


def by_suite(file: str, suites: Sequence[str] = SUITES) -> Table:
    """Return a table of speed-ups by suite."""

    def table() -> Iterable[str]:
        found: dict[str, dict[str, str]] = {}
        for figure in load(file)["figures"]:
            found.setdefault(figure["method"], {})[figure["task"]] = interval(figure["speedup"])
        rows = ([method, *(row[suite] for suite in suites)] for method, row in found.items())
        return grid(["method", *suites], rows)

    return table


def side_by_side(file: str, counts: Sequence[int]) -> Table:
    """Return a table of problems per second by the number of problems at a time."""

    def table() -> Iterable[str]:
        found = {count: means(file, count) for count in counts}
        rows = (
            [method, *(f"{found[count][method]['throughput']:.1f}" for count in counts)]
            for method in found[counts[0]]
        )
        return grid(["problems/s", *(f"{count} at a time" for count in counts)], rows)

    return table


GATES = (
    "target",
    "draft",
    "fpsr",
    "fpsr-ratio-30",
    "fpsr-ratio-50",
    "fpsr-adaptive",
    "fpsr-likelihood-90",
    "fpsr-profile",
    "fpsr-cascade-30",
    "fpsr-final-answer-draft",
    "fpsr-draft-confidence-95-steps",
    "fpsr-draft-confidence-90",
    "fpsr-draft-confidence-95",
    "fpsr-draft-confidence-98",
    "fpsr-resamples-2",
    "fpsr-token-reuse-off",
)
RISK = (
    "speed-up",
    "accuracy",
    "difference",
    "regressions, %",
    "accepted tokens",
    "false accepts",
)
ALL = ("speed-up", "per token", "tokens", "accuracy", "difference", "accepted steps")


TABLES: dict[str, Table] = {
    "methods": bench("aligned", (*ALL, "efficiency")),
    "suites": by_suite("aligned"),
    "xeon": bench("aligned-xeon", ("speed-up", "accuracy", "median latency, ms")),
    "accuracy": bench("accuracy", ("accuracy, %", "difference", "problems/s"), concurrency=16),
    "gates": bench("gates", RISK, GATES),
    "gates_before": bench("gates-before", RISK),
    "gates_compared": bench("gates-compared", RISK),
    "gates_compared_before": bench("gates-compared-before", RISK),
    "gap": bench("gap", (*ALL, "efficiency")),
    "gap_accuracy": bench(
        "gap-accuracy", ("accuracy, %", "difference", "regressions, %"), concurrency=16
    ),
    "gap_risk": bench(
        "gap-risk",
        ("accuracy, %", "difference", "accepted steps", "regressions, %", "false accepts"),
        concurrency=8,
    ),
    "gap_calibrated": bench("gap-calibrated", (*ALL, "regressions, %")),
    "long": bench("multi-image-long", (*ALL, "efficiency")),
    "long_suites": by_suite("multi-image-long", LONG),
    "long_risk": bench("multi-image-long", ("difference", "regressions, %", "false accepts")),
    "short": bench("multi-image-short", (*ALL, "efficiency")),
    "fresh": bench(
        "draft-confidence-fresh", ("accuracy, %", "difference", "regressions, %"), concurrency=16
    ),
    "windows": bench("windows", ("speed-up", "accuracy", "efficiency")),
    "fallbacks": bench("fallbacks", ("speed-up",)),
    "concurrency": side_by_side("concurrency", (1, 4, 16)),
    "side_by_side": side_by_side("draft-confidence-side-by-side", (1, 16)),
    "before": bench("peers", ALL),
    "served_suites": by_suite("http"),
    "served_8": bench("http-8", ("problems/s", "accuracy", "difference"), concurrency=8),
    "served_before": bench("http-before", ("speed-up", "accuracy", "accepted steps")),
}
