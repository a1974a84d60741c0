"""Hash the texts that the bundled pair writes and compare them with those of another commit.

    python benchmarks/texts.py --out FILE                                  # 100 problems a suite
    python benchmarks/texts.py --check benchmarks/results/texts.json

Methods target, sequential and fpsr, greedy and deterministic. A change that only moves or renames
code must keep every text byte for byte. Floating-point sums may round differently on another
processor, so compare on the machine that wrote the file.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from pathlib import Path

from dreamr import Reasoner, RunOptions
from dreamr.evaluation.tasks import default_tasks, load
from dreamr.tooling import provenance

METHODS = ("target", "sequential", "fpsr")


def main() -> None:
    """Hash all texts; with --check, exit with status 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=100, help="problems of each suite")
    parser.add_argument("--check", type=Path, help="JSON file of hashes to compare with")
    parser.add_argument("--out", type=Path, help="JSON file to write the hashes to")
    options = parser.parse_args()
    hashes = asyncio.run(hash_texts(options.limit))
    if options.out:
        content = {"provenance": provenance(), "sha256": hashes}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    if options.check:
        before = json.loads(options.check.read_text())["sha256"]
        differ = [name for name, text in hashes.items() if before.get(name) != text]
        print(f"{len(hashes)} texts, {len(differ)} differ", *differ[:9])
        raise SystemExit(1 if differ else 0)


async def hash_texts(limit: int) -> dict[str, str]:
    """Return the first 64 bits of each text's hash in hex, by task, problem and method."""
    hashes = {}
    async with Reasoner(RunOptions(deterministic=True)) as reasoner:
        for task in default_tasks():
            for item in load(task, limit=limit):
                for method in METHODS:
                    options = RunOptions(method=method, deterministic=True)
                    result = await reasoner.reason(item.conversation, options=options)
                    text = "".join(step.step.text for step in result.steps)
                    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
                    hashes[f"{item.task}/{item.index}/{method}"] = digest
    return hashes


if __name__ == "__main__":
    main()
