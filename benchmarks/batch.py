"""Answer ten thousand requests of a file with scripted engines, and watch the memory.

    python benchmarks/batch.py --out FILE.json

`dreamr batch` runs in a process of its own. It is killed at random moments and started again, as
often as `--kills` says; then every request must have one answer. Its memory is read four times a
second. With engines that cost nothing, the rate is that of dreamr itself.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from dreamr.tooling import provenance

CODE = """
import sys
from dreamr.cli import main
from dreamr.engines import Model, ScriptedEngine

SCRIPT = ("Tea costs 2.50.\\n\\n", "Milk costs 1.20.\\n\\n", "Answer: 3.70")

async def opened(source):
    return Model(ScriptedEngine(script=SCRIPT, opinion=dict.fromkeys(SCRIPT, 0.93)))

sys.exit(main(["batch", *sys.argv[1:]], open_model=opened))
"""
PERIOD = 0.25  # seconds between two readings of the memory


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CODE, "requests.jsonl", "--out", "answers.jsonl"]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)


def answers(folder: Path) -> int:
    path = folder / "answers.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def watch(process: subprocess.Popen[bytes], seconds: float) -> list[float]:
    """Return the megabytes of memory until the process ends or the time is up."""
    found, end = [], time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if held := re.search(r"VmRSS:\s+(\d+) kB", status):  # none once it has ended
            found.append(int(held[1]) / 1000)
        time.sleep(PERIOD)
    return found


def measure(requests: int, kills: int) -> dict[str, Any]:
    """Answer the requests, and return the figures."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "requests.jsonl").open("w") as file:
            for number in range(requests):
                file.write(json.dumps({"id": number, "question": "What do both cost?"}) + "\n")
        at = []
        for _ in range(kills):
            process = start(folder)
            watch(process, rng.uniform(1.0, 6.0))
            process.kill()
            process.wait()
            at.append(answers(folder))
        before, began = answers(folder), time.monotonic()
        process = start(folder)
        memory = watch(process, 3600)
        seconds = time.monotonic() - began
        counts = Counter(
            json.loads(line)["custom_id"] for line in (folder / "answers.jsonl").open()
        )
    settled = memory[len(memory) // 4 :]
    return {
        "requests": requests,
        "answered once": sum(count == 1 for count in counts.values()),
        "answers at kills": at,
        "status": process.returncode,
        "requests a second": (requests - before) / seconds,
        "memory, MB": {"at a quarter": settled[0], "at the end": settled[-1], "most": max(memory)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    figures = measure(options.requests, options.kills)
    print(json.dumps(figures, indent=2))
    if options.out:
        content = {"provenance": provenance(), "figures": figures}
        options.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
