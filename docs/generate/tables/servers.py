"""Tables of models over HTTP: real servers, emulated ones, and what the client costs."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from tables.benches import COLUMNS
from tables.figures import (
    Figure,
    Table,
    grid,
    load,
    means,
    plain,
)


def served() -> Iterable[str]:
    """Yield the figures of methods over model servers, with their requests and bytes a run."""
    found, traffic = means("http"), load("traffic.json")["rows"]
    columns = ("speed-up", "per token", "tokens", "accuracy", "accepted steps")
    rows = []
    for method, figure in found.items():
        runs = [row for row in traffic if row["method"] == method]
        cells = []
        for what, scale in (("requests", 1), ("bytes", 1000)):
            means_of = [row[f"target {what}"] + row[f"draft {what}"] for row in runs]
            cells.append(f"{sum(means_of) / len(means_of) / scale:.1f}" if runs else "")
        rows.append([method, *(COLUMNS[c](figure) for c in columns), *cells])
    return grid(["method", *columns, "requests", "kB sent"], rows)


def speculating() -> Iterable[str]:
    """Yield speed-ups with token-level speculation in the servers, over the plain target."""
    plain_servers, ngram = means("http-plain"), means("http-ngram")
    base = plain_servers["target"]["throughput"]
    rows = (
        [method, *(plain(found[method]["throughput"] / base) for found in (plain_servers, ngram))]
        for method in plain_servers
    )
    return grid(["method", "plain servers", "servers with n-gram speculation"], rows)


def emulated(file: str, clients: int) -> Table:
    """Return a table of requests a second over the target alone, on emulated servers."""

    def table() -> Iterable[str]:
        found: dict[tuple[str, float], dict[str, float]] = {}
        content = load(file)
        for row in content["rows"]:
            if row["clients"] == clients:
                point = found.setdefault((row["pair"], row["acceptance"]), {})
                point[row["method"]] = row["requests a second"]
        others = [m for m in next(iter(found.values())) if m not in ("target", "fpsr")]
        ideals = {(row["pair"], row["acceptance"]): row["seconds"] for row in content["ideal"]}
        rows = []
        for (pair, acceptance), rates in found.items():
            cells = [plain(rates[method] / rates["target"]) for method in (*others, "fpsr")]
            tail = [plain(rates["fpsr"] * ideals[pair, acceptance])] if clients == 1 else []
            rows.append([pair, f"{acceptance:g}", *cells, *tail])
        head = ["pair", "acceptance", *others, "fpsr"]
        return grid(head + (["fpsr / ideal"] if clients == 1 else []), rows)

    return table


def http_client() -> Iterable[str]:
    """Yield the processor time of the client by what it does."""
    figures = load("http-overhead.json")["figures"]
    rows = ([name, f"{row['ms']:.2f} ± {row['margin']:.2f}"] for name, row in figures.items())
    return grid(["in the client", "ms of processor time"], rows)


def health() -> Iterable[str]:
    """Yield the waits for /health beside requests with and without a photograph."""
    rows = []
    for name, found in load("images.json")["figures"].items():
        waits = found["longest /health, ms"]
        rows.append([name, f"{median(waits):.0f}", f"{max(waits):.0f}"])
    return grid(["request", "longest wait for /health, ms, median", "largest"], rows)


def _firsts(found: Figure, unit: str) -> Iterable[str]:
    return (f"{found[f'first token, {who}, {unit}']:.3f}" for who in ("any", "target"))


def followups(file: str) -> Table:
    """Return the table of the times to the first token of further questions about a file."""

    def table() -> Iterable[str]:
        figures = load(file)["figures"].items()
        rows = ([name, *_firsts(found, "s"), *_firsts(found, "share")] for name, found in figures)
        head = ["question", "first token, s", "of the target, s", "share", "of the target, share"]
        return grid(head, rows)

    return table


TABLES: dict[str, Table] = {
    "served": served,
    "speculating": speculating,
    "emulated_1": emulated("emulated.json", 1),
    "emulated_8": emulated("emulated.json", 8),
    "emulated_32": emulated("emulated.json", 32),
    "emulated_tail": emulated("emulated-32.json", 32),
    "emulated_hybrid": emulated("emulated-hybrid.json", 32),
    "emulated_pairs_1": emulated("emulated-pairs.json", 1),
    "emulated_pairs_32": emulated("emulated-pairs.json", 32),
    "http_client": http_client,
    "health": health,
    "followups": followups("followups.json"),
    "followups_served": followups("followups-vllm.json"),
}
