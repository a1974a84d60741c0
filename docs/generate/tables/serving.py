"""Tables of the gateway: what it costs, holds, survives and adapts."""

from __future__ import annotations

from collections.abc import Iterable

from tables.figures import (
    Table,
    counted,
    grid,
    load,
    percent,
    plain,
)


def gateway_overhead() -> Iterable[str]:
    """Yield what the gateway adds to a request."""
    found = load("gateway-overhead.json")["overhead"]
    kinds = {"to the first byte": "first_byte", "per step": "step"}
    rows = (
        [text, *(plain(found[f"{kind}_{part}"]) for part in ("p50", "p90"))]
        for text, kind in kinds.items()
    )
    return grid(["added latency, ms", "median", "90th percentile"], rows)


def gateway_load() -> Iterable[str]:
    """Yield throughput under load, relative to the target alone."""
    rows: dict[tuple[str, bool], dict[int, str]] = {}
    for row in load("gateway.json")["load"]:
        rows.setdefault((row["pair"], row["aware"]), {})[row["clients"]] = plain(
            row["ratio"]["value"]
        )
    counts = sorted(next(iter(rows.values())))
    names = {True: "load-aware", False: "`--no-load-aware`"}
    head = ["throughput / target alone", *(f"{count} clients" for count in counts)]
    cells = (
        [f"{pair} draft, {names[aware]}", *(row[c] for c in counts)]
        for (pair, aware), row in rows.items()
    )
    return grid(head, cells)


def replicas() -> Iterable[str]:
    """Yield the streams of several gateways, as multiples of those of one."""
    kinds = {"scaling": "models over HTTP", "store": "with `--store`", "in-process": "in process"}
    found = {text: load(f"replicas/{name}.json")["scaling"] for name, text in kinds.items()}
    counts = [row["replicas"] for row in next(iter(found.values()))]
    head = [
        "streams/s, times one",
        *(counted(f"{count} replicas") for count in counts),
        "cores in use",
    ]
    rows = (
        [text, *(plain(row["ratio"]) for row in one), percent(one[-1]["cores_in_use"], 0)]
        for text, one in found.items()
    )
    return grid(head, rows)


def open_streams() -> Iterable[str]:
    """Yield latency and memory of one gateway beside open streams."""
    rows = (
        [
            f"{row['open']:,}",
            plain(row["median_seconds"]),
            plain(row["p99_seconds"]),
            f"{row['kilobytes_per_stream']:.0f}",
        ]
        for row in load("replicas/open.json")["open"]
    )
    return grid(["open streams", "median, s", "99th percentile, s", "kB a stream"], rows)


def mutated() -> Iterable[str]:
    """Yield what became of mutated bodies, by API."""
    rows = []
    for path, found in load("api-fuzz.json")["apis"].items():
        statuses = found["statuses"]
        valid = statuses.get("200", 0)
        cells = (found["bodies"], valid, found["bodies"] - valid, found["fault_count"])
        rows.append((f"`{path}`", *(f"{cell:,}" for cell in cells)))
    return grid(["API", "bodies", "answered", "refused with 400 or 404", "faults"], rows)


def soak() -> Iterable[str]:
    """Yield what became of requests in the soak, and what the gateways held, by gateway."""
    rows = []
    for found in load("soak.json")["gateways"]:
        requests = sum(sum(kind["outcomes"].values()) for kind in found["kinds"])
        faults = sum(found["faults"].values())
        memory, files = found["memory_mb"], found["files"]
        rows.append(
            (
                f"model {found['gateway']}",
                f"{requests:,}",
                f"{faults:,}",
                f"{memory['early']:.0f} / {memory['late']:.0f}",
                f"{files['before']} / {files['after']}",
            )
        )
    head = ["gateway over", "requests", "faults", "memory early / late, MB", "files before / after"]
    return grid(head, rows)


def drift() -> Iterable[str]:
    """Yield alarms of audits on usual and on shifted problems."""
    rows = []
    for row in load("drift.json")["figures"]:
        alarm = row["alarm after"]
        after = f"after {alarm['asked']} problems" if alarm else "none"
        differed = row["audits"].get("differed", 0)
        audits = f"{differed} of {differed + row['audits'].get('agreed', 0)}"
        right = f"{row['right']} of {row['asked']}"
        name = f"{row['gate']}, {row['questions']}"
        rows.append([name, audits, after, f"{row['threshold']:.3f}", right])
    return grid(
        ["gate, problems", "audits that differed", "alarm", "threshold at the end", "correct"], rows
    )


def tuning() -> Iterable[str]:
    """Yield simulated time of tuned settings, relative to the best fixed ones."""
    rows = []
    for row in load("tuning.json")["mixed"]:
        seconds = row["seconds"]
        best = seconds["best fixed"]
        rows.append(
            [row["workload"], plain(seconds["default"] / best), plain(seconds["tuned"] / best)]
        )
    return grid(["mixed workload (simulated)", "default / best fixed", "tuned / best fixed"], rows)


TABLES: dict[str, Table] = {
    "gateway_overhead": gateway_overhead,
    "gateway_load": gateway_load,
    "replicas": replicas,
    "open_streams": open_streams,
    "mutated": mutated,
    "soak": soak,
    "drift": drift,
    "tuning": tuning,
}
