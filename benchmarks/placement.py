"""Compare the ranking of `dreamr pair plan` with a measured one: which engine serves the draft?

    scripts/engines/install-vllm ENGINES/vllm       # and install-llama, convert-pair
    python benchmarks/placement.py [--out FILE.json]

Three servers of the bundled pair, each on a core of its own: the target by vLLM on one core; on the
other core the draft by llama.cpp and, alternately, by vLLM. Only one of the drafts works at a time.
First, `dreamr doctor --json` measures the costs of both placements, and the plan ranks them. Then
both placements and the target alone answer the same problems, in turns of a few problems. Each turn
begins with another of the three, and servers compute every prompt again. The figures name both
rankings and whether they agree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dreamr_testbed import PAIR
from dreamr_testbed.suites import load_docmath

from dreamr import Reasoner, RunOptions
from dreamr.evaluation.tasks import Item
from dreamr.sizing.measured import read_placements
from dreamr.sizing.plan import measured_candidates, rank
from dreamr.tooling import provenance

ROOT = Path(__file__).parents[1]
ENGINES = Path("~/.cache/dreamr/engines").expanduser()
TARGET, VLLM, LLAMA = 8131, 8132, 8133  # ports
PLACEMENTS = {"both on vLLM": VLLM, "draft on llama.cpp": LLAMA}
ALONE = "target alone"
START_SECONDS, STOP_SECONDS, DOCTOR_SECONDS = 240, 20, 300
WARM_UP = 2  # problems of each, which do not count


def vllm(role: str, port: int, core: int) -> list[str]:
    """Return the command of a model of the pair on vLLM."""
    script = str(ROOT / "scripts" / "engines" / "serve-vllm")
    return pinned(core, [script, str(ENGINES / "vllm"), str(PAIR / role), str(port)])


def llama(role: str, port: int, core: int) -> list[str]:
    """Return the command of a model of the pair on llama.cpp."""
    folder = ENGINES / "pair-gguf"
    return pinned(
        core,
        [
            str(ENGINES / "llama" / "llama-server"), "--model", str(folder / f"{role}.gguf"),
            "--mmproj", str(folder / f"{role}-tower.gguf"), "--host", "127.0.0.1",
            "--port", str(port), "-t", "1", "-tb", "1", "--ctx-size", "4096", "--parallel", "4",
            "--metrics", "--jinja",
        ],
    )  # fmt: skip


def pinned(core: int, command: list[str]) -> list[str]:
    """Return the command on one core."""
    return ["taskset", "--cpu-list", str(core), *command]


@contextmanager
def serving(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            wait_for(port, process, log)
            yield
        finally:
            end(process)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    end_at = time.monotonic() + START_SECONDS
    while time.monotonic() < end_at:
        if process.poll() is not None:
            raise SystemExit(f"the server on port {port} ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"the server on port {port} did not start within {START_SECONDS} s")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and the processes of its session."""
    for number in (15, 9):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def url(port: int) -> str:
    """Return the address of a server."""
    return f"http://127.0.0.1:{port}/v1"


def examine(port: int, file: Path) -> None:
    """Measure the costs of the pair with the draft on this port."""
    command = [sys.executable, "-m", "dreamr", "doctor", "--quick", "--json"]
    with file.open("wb") as output:
        subprocess.run(
            [*command, "--target", url(TARGET), "--draft", url(port)],
            stdout=output,
            timeout=DOCTOR_SECONDS,
            check=False,  # a finding can be wrong, and its costs right
        )


def planned(folder: Path, acceptance: float) -> dict[str, dict[str, Any]]:
    """Return what the plan expects of each placement, the fastest first."""
    lines = []
    for number, (name, port) in enumerate(PLACEMENTS.items()):
        examine(port, folder / f"{number}.jsonl")
        lines += ["[[placement]]", f'name = "{name}"', f'measured = "{number}.jsonl"']
    file = folder / "devices.toml"
    file.write_text("\n".join(lines) + "\n")
    ranked = rank(measured_candidates(read_placements(file)), acceptance)
    return {
        one.candidate.name: {
            "speed-up": round(one.expected.alone / one.expected.seconds, 3),
            "draft cost": round(one.expected.ratio, 3),
            "window": one.expected.window,
            "fallback": one.expected.fallback,
        }
        for one in ranked
    }


async def measure(problems: int, turn: int, seed: int) -> dict[str, list[float]]:
    """Return the seconds of each problem by placement."""
    items = load_docmath(problems + WARM_UP, seed, "test")
    async with AsyncExitStack() as stack:
        readers = {
            name: await stack.enter_async_context(
                Reasoner(RunOptions(target=url(TARGET), draft=url(port), seed=seed))
            )
            for name, port in PLACEMENTS.items()
        }
        readers[ALONE] = await stack.enter_async_context(
            Reasoner(RunOptions(method="target", target=url(TARGET), seed=seed))
        )
        seconds = await answer_all(readers, items, turn)
    return {name: found[WARM_UP:] for name, found in seconds.items()}


async def answer_all(
    readers: Mapping[str, Reasoner], items: Sequence[Item], turn: int
) -> dict[str, list[float]]:
    """Let each reasoner answer all problems, in turns; return the seconds of each problem."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for number, start in enumerate(range(0, len(items), turn)):
        # Another one is first in each turn: nothing that a turn leaves always favors the same.
        first = number % len(readers)
        names = list(readers)
        for name in names[first:] + names[:first]:
            for item in items[start : start + turn]:
                # They share a target, which has computed the prompt for the ones before.
                for model in readers[name].models.values():
                    model.engine.forget(item.conversation)
                began = time.perf_counter()
                await readers[name].reason(item.conversation)
                seconds[name].append(time.perf_counter() - began)
    return seconds


def figures(expected: dict[str, Any], seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return both rankings and whether they agree."""
    means = {name: statistics.fmean(found) for name, found in seconds.items()}
    measured = sorted(PLACEMENTS, key=lambda name: means[name])
    return {
        "planned": expected,
        "measured": {
            name: {
                "seconds": round(means[name], 4),
                "median": round(statistics.median(seconds[name]), 4),
                "speed-up": round(means[ALONE] / means[name], 3),
                "all": [round(one, 4) for one in seconds[name]],
            }
            for name in (*measured, ALONE)
        },
        "rankings agree": list(expected) == measured,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=40, help="problems of each placement")
    parser.add_argument("--turn", type=int, default=4, help="problems of a turn")
    parser.add_argument("--acceptance", type=float, default=0.95, help="acceptance of the plan")
    parser.add_argument("--seed", type=int, default=1000, help="seed of the problems")
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for command, port in (
            (vllm("target", TARGET, 0), TARGET),
            (vllm("draft", VLLM, 1), VLLM),
            (llama("draft", LLAMA, 1), LLAMA),
        ):
            stack.enter_context(serving(command, port, folder / f"{port}.log"))
        expected = planned(folder, given.acceptance)
        seconds = asyncio.run(measure(given.problems, given.turn, given.seed))
    found = figures(expected, seconds)
    print(json.dumps({name: found[name] for name in ("planned", "rankings agree")}, indent=2))
    for name, one in found["measured"].items():
        print(f"{name}: {one['seconds']:.3f} s, {one['speed-up']:.2f} times the target alone")
    if given.out:
        chosen = {"problems": given.problems, "turn": given.turn, "acceptance": given.acceptance}
        content = {"provenance": provenance(), "options": chosen, **found}
        given.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
