"""Ask a question about an image: the answer, the steps, and the events as they happen.

python examples/run.py receipt.png
"""

from __future__ import annotations

import sys

import anyio

from dreamr import Reasoner, RunOptions
from dreamr.trace import StepCommitted, StepRejected

QUESTION = "What do tea and milk cost together?"


def ask(image: str) -> None:
    """Ask and wait. Blocking calls work in scripts and notebooks."""
    with Reasoner() as reasoner:
        result = reasoner.ask(QUESTION, image)
    print("Answer:", result.answer)
    for step in result.steps:
        score = step.verdict.score_text if step.verdict else "-"
        print(f"{step.source:6} {score:>6} {step.step.text.strip()}")
    print("Tokens written by the target:", result.usage.target.written)


async def stream(image: str) -> None:
    """Ask and see steps as they are committed or rejected."""
    async with Reasoner(RunOptions(window=4)) as reasoner:
        async for event in reasoner.stream(QUESTION, image):
            match event:
                case StepCommitted():
                    print("+", event.step.text.strip())
                case StepRejected():
                    print("-", event.step.text.strip())


if __name__ == "__main__":
    image = sys.argv[1] if len(sys.argv) > 1 else "receipt.png"
    ask(image)
    anyio.run(stream, image)
