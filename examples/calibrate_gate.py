"""Calibrate a gate on problems with known answers, and run with the profile.

    python examples/calibrate_gate.py receipt.png [PROBLEMS]

With few problems only a loose bound can be shown. Use 1000 or more for a real profile.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from dreamr import Reasoner, RunOptions
from dreamr.evaluation.calibration import CalibrateOptions, Progress, calibrate
from dreamr.gate import write_profile

OUT = Path("profile.json")


def show(progress: Progress) -> None:
    """Print the progress on one line."""
    print(f"\r{progress.done} of {progress.total} problems", end="", file=sys.stderr)


async def main(image: str, problems: int) -> None:
    """Write a profile that bounds wrong accepted steps by 20 %, and use it."""
    options = CalibrateOptions(task="docmath", problems=problems, risk=0.2)
    calibration = await calibrate(options, on_progress=show)
    write_profile(OUT, calibration.require_profile())
    print(f"\n{OUT}: {calibration.require_profile().gate}")
    async with Reasoner(RunOptions(profile=str(OUT))) as reasoner:
        result = await reasoner.reason("What do tea and milk cost together?", image)
    print("Answer:", result.answer)


if __name__ == "__main__":
    image = sys.argv[1] if len(sys.argv) > 1 else "receipt.png"
    anyio.run(main, image, int(sys.argv[2]) if len(sys.argv) > 2 else 40)
