"""Send mutated bodies to each API of the gateway, and check what comes back.

Models are scripted. Each body must get a response that ends, with a status below 500; nothing may
be left running, and memory must not grow by more than a bound.

    python benchmarks/api_fuzz.py [--count 10000] [--seed 0] [--out FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

from dreamr.answers import AnswerPiece, CallDelta
from dreamr.tooling import provenance

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support.bodies import VALID, random_bodies  # noqa: E402
from support.gateways import Gateway, use  # noqa: E402
from support.pairs import Pair  # noqa: E402

FAULTS_SHOWN = 20
# Bytes that memory may grow by in the second half: imports and caches, and what a body may leave.
CACHES, GROWTH = 3_000_000, 250
KEPT = {"/v1/responses": 2_000}  # bytes of a body, where answers are stored


async def fuzz(
    gate: Gateway, path: str, count: int, seed: int, answered: list[Any]
) -> dict[str, Any]:
    """Send bodies to one endpoint and return what happened.

    Args:
        gate: The gateway.
        path: The endpoint.
        count: Number of bodies.
        seed: Seed of the bodies.
        answered: What the scripted target keeps of each body, which is not the gateway's.
    """
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    half = 0
    began = time.perf_counter()
    for number, raw in enumerate(random_bodies(path, count, random.Random(f"{seed} {path}"))):
        found = await gate.ask(raw, path)
        statuses[found.status] += 1
        if found.status >= 500 or not found.ended:
            faults.append(f"{found.status}: {raw!r}")
        if number == count // 2:
            answered.clear()
            gc.collect()
            tracemalloc.start()
            half = tracemalloc.get_traced_memory()[0]
    answered.clear()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - half
    tracemalloc.stop()
    return {
        "bodies": count,
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "faults": faults[:FAULTS_SHOWN],
        "fault_count": len(faults),
        "grown_bytes_in_second_half": grown,
        "open_streams": gate.open_streams,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="bodies of each API")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()

    async def work(gate: Gateway) -> dict[str, Any]:
        answered = pair.opened["target"].answered
        return {path: await fuzz(gate, path, chosen.count, chosen.seed, answered) for path in VALID}

    pieces = (AnswerPiece(calls=(CallDelta(0, "{}", "t1", "x"),), tokens=1),)
    pair = Pair(target={"answers": pieces})
    found = use(work, pair, bound=3600)
    report = {"provenance": provenance(), "seed": chosen.seed, "apis": found}
    text = json.dumps(report, indent=2) + "\n"
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")
    if not all(is_good(path, one) for path, one in found.items()):
        sys.exit(1)


def is_good(path: str, found: dict[str, Any]) -> bool:
    """Return whether what happened at an endpoint is within all bounds."""
    bound = CACHES + found["bodies"] / 2 * (GROWTH + KEPT.get(path, 0))
    is_clean = not found["fault_count"] and not found["open_streams"]
    return is_clean and found["grown_bytes_in_second_half"] <= bound


if __name__ == "__main__":
    main()
