"""Write docs/results.md: results.template.md with tables from the committed results files.

    python docs/generate/results.py > docs/results.md

In the template, `{{ NAME }}` stands for a table below and `{{ machine FILE }}` for the processor of
a results file. Figures are read from benchmarks/results, so the page agrees with the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

TEMPLATE = Path(__file__).with_name("results.template.md")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
SUITES = ("docmath", "story", "vqa")
LONG = ("pages", "clip", "docmath-hard:1", "story-hard:1", "vqa-hard:1")
Figure = Mapping[str, Any]
Table = Callable[[], Iterable[str]]


@cache
def load(file: str) -> Any:
    """Read a results file, or the results of a bench folder."""
    path = RESULTS / file
    return json.loads((path / "results.json" if path.is_dir() else path).read_text("utf-8"))


def machine(file: str) -> str:
    """Return processor and cores of a results file."""
    path = RESULTS / file
    found = load(str(Path(file) / "after.json") if file == "sapo" else file)["provenance"]
    first = found[0] if isinstance(found, list) else found
    name = first["processor"].replace("(R)", "").replace("Processor @ ", "")
    return f"{name}, {first.get('cores', 2)} cores" if path else name


def means(file: str, concurrency: int = 1) -> dict[str, Figure]:
    """Return the figures of each method of a bench, averaged over its suites."""
    return {
        figure["method"]: figure
        for figure in load(file)["figures"]
        if figure["task"] == "mean" and figure["concurrency"] == concurrency
    }


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Yield the lines of a Markdown table; all columns but the first are numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|--:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def interval(value: Figure | None, digits: int = 2, scale: float = 1, sign: str = "") -> str:
    """Return a value with its 95 % interval."""
    if not value:
        return ""
    middle, low, high = (scale * value[name] for name in ("value", "low", "high"))
    return f"{middle:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def percent(value: float | Figure | None, digits: int = 1) -> str:
    """Return a share in percent."""
    if value is None:
        return ""
    return f"{100 * (value if isinstance(value, int | float) else value['value']):.{digits}f} %"


def plain(value: float | None) -> str:
    """Return a number with two digits."""
    return "" if value is None else f"{value:.2f}"


def counted(text: str) -> str:
    """Return a count with its noun, which is given in the plural, as English has it."""
    return text.removesuffix("s") if text.startswith("1 ") else text


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


def sapo() -> Iterable[str]:
    """Yield the draft's figures before and after training."""
    rows = []
    for name, file in (("before", "sapo/before.json"), ("after", "sapo/after.json")):
        tasks = [load(file)["figures"][suite] for suite in SUITES]
        mean = {key: sum(task[key] for task in tasks) / len(tasks) for key in tasks[0]}
        shares = (percent(mean[key]) for key in ("acceptance", "clean", "right"))
        rows.append([name, *shares, f"{mean['tokens']:.1f}"])
    head = ["draft", "steps accepted", "answers without a rejection", "correct", "tokens"]
    return grid(head, rows)


def places() -> Iterable[str]:
    """Yield the draft's figures on pages and videos, trained with and without the places term."""
    names = {"before": "before", "1:1:1:0": "after-0", "1:1:1:0.5": "after-0.5"}
    keys = ("acceptance", "clean", "right", "places", "wrong_places")
    rows = []
    for name, file in names.items():
        for task, figures in load(f"sapo-places/{file}.json")["figures"].items():
            if task != "mean":
                cells = (percent(figures[key]) for key in keys)
                rows.append([task, name, *cells, f"{figures['tokens']:.0f}"])
    head = ["steps accepted", "answers without a rejection", "correct", "steps that name a place"]
    head = ["task", "weights", *head, "a wrong one", "tokens"]
    return grid(head, sorted(rows, key=lambda row: row[0], reverse=True))


def ablation(file: str) -> Table:
    """Return the table of an ablation; several seeds give mean ± standard deviation."""

    def cell(variant: Figure, key: str, scale: float = 1) -> str:
        spread = variant.get("spread")
        tail = f" ± {scale * spread[key]:.1f}" if spread else ""
        return f"{scale * variant[key]:.1f}{tail}"

    def table() -> Iterable[str]:
        rows = (
            [
                name,
                *(cell(variant, key, 100) for key in ("acceptance", "clean", "right")),
                cell(variant, "tokens"),
            ]
            for name, variant in load(file)["variants"].items()
        )
        head = ["variant", "steps accepted, %", "without a rejection, %", "correct, %", "tokens"]
        return grid(head, rows)

    return table


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


def placement() -> Iterable[str]:
    """Yield what the plan expected of placements of a pair, and what was measured."""
    found = load("placement.json")
    measured = found["measured"]
    rows = (
        [name, plain(row["speed-up"]), plain(measured[name]["speed-up"])]
        for name, row in found["planned"].items()
    )
    return grid(["placement", "planned", "measured"], rows)


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


def replays() -> Iterable[str]:
    """Yield the simulator's error on replayed benches."""
    rows = []
    for folder in ("aligned", "windows"):
        for row in load(f"{folder}/replay.json")["rows"]:
            error = f"{100 * row['off by']:+.1f} %"
            name = f"{row['method']} (`{folder}`)"
            rows.append([name, plain(row["measured"]), plain(row["predicted"]), error])
    return grid(["method", "measured", "predicted", "error"], rows)


def predictions() -> Iterable[str]:
    """Yield predictions for named models and devices."""
    rows = []
    for file in sorted((RESULTS / "simulator" / "predictions").glob("[0-9]*[0-9].json")):
        found = json.loads(file.read_text("utf-8"))
        for row in found["rows"]:
            pair = found["title"].partition(". ")[0]
            speedups = (plain(row[name]) for name in ("speed-up", "equal devices"))
            rows.append([pair, row["gpu"], row["devices"], row["method"], *speedups])
    head = ["pair, acceptance", "GPU", "devices (target + draft)", "method"]
    return grid([*head, "speed-up", "speed-up over the target on all devices"], rows)


def blind() -> Iterable[str]:
    """Yield accuracy with blank images."""
    found = load("blind.json")["figures"]
    rows = ([suite, percent(found[suite]["draft"]["accuracy"], 0)] for suite in SUITES)
    return grid(["suite", "correct with blank images"], rows)


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
    "served": served,
    "served_suites": by_suite("http"),
    "served_8": bench("http-8", ("problems/s", "accuracy", "difference"), concurrency=8),
    "served_before": bench("http-before", ("speed-up", "accuracy", "accepted steps")),
    "speculating": speculating,
    "emulated_1": emulated("emulated.json", 1),
    "emulated_8": emulated("emulated.json", 8),
    "emulated_32": emulated("emulated.json", 32),
    "emulated_tail": emulated("emulated-32.json", 32),
    "emulated_hybrid": emulated("emulated-hybrid.json", 32),
    "emulated_pairs_1": emulated("emulated-pairs.json", 1),
    "emulated_pairs_32": emulated("emulated-pairs.json", 32),
    "placement": placement,
    "replicas": replicas,
    "open_streams": open_streams,
    "mutated": mutated,
    "soak": soak,
    "http_client": http_client,
    "health": health,
    "followups": followups("followups.json"),
    "followups_served": followups("followups-vllm.json"),
    "sapo": sapo,
    "places": places,
    "ablation_new": ablation("ablations-timesheet.json"),
    "ablation_known": ablation("ablations.json"),
    "decode": decode,
    "decoders": decoders,
    "shared": shared,
    "overhead": overhead,
    "gateway_overhead": gateway_overhead,
    "gateway_load": gateway_load,
    "drift": drift,
    "tuning": tuning,
    "replays": replays,
    "blind": blind,
    "predictions": predictions,
}


def filled(match: re.Match[str]) -> str:
    """Return what a placeholder stands for."""
    name, _, file = match[1].partition(" ")
    return machine(file) if name == "machine" else "\n".join(TABLES[name]())


def page() -> str:
    """Return the page."""
    return re.sub(r"\{\{ (.*?) \}\}", filled, TEMPLATE.read_text("utf-8"))


if __name__ == "__main__":
    print(page(), end="")
