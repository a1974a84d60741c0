"""Describe the drawn suites: lengths of their solutions, and what a guess without images gets.

    python benchmarks/suites.py --out benchmarks/results/suites.json

The guess knows the form of a question, its names replaced, and the kind of the problem. It answers
what was most often right for that form in training problems.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from dreamr_testbed import PAIR
from dreamr_testbed.suites import EXTRA_SUITES, LEVELS, SUITES, Scene, draw_scene
from tokenizers import Tokenizer

from dreamr.evaluation.tasks import MARKER
from dreamr.tooling import provenance

NAMES = re.compile(r"\b(?:[A-Z][a-z]*|[a-z]{3,}|\d+)\b")
TIMES = 4  # training problems for each test problem


def main() -> None:
    """Write the figures of all suites."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=1000, help="test problems of each suite")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(PAIR / "target" / "tokenizer.json"))
    figures = {
        suite: {
            "levels": {
                str(level): lengths(suite, level, options.limit, tokenizer) for level in LEVELS
            },
            "guess": guess(suite, options.limit),
        }
        for suite in (*SUITES, *EXTRA_SUITES)
    }
    content = {"provenance": provenance(), "figures": figures}
    options.out.write_text(json.dumps(content, indent=1) + "\n")


def lengths(suite: str, level: int, limit: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return least, mean and most of the lengths of problems of a level."""
    scenes = [draw_scene(suite, "test", index, level) for index in range(max(1, limit // 5))]

    def tokens(texts: list[str]) -> int:
        return sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)

    counts = {
        "images": [len(scene.views) for scene in scenes],
        "question": [tokens([scene.question]) for scene in scenes],
        "steps": [len(scene.steps) for scene in scenes],
        "terse": [tokens(solution(scene, 0)) for scene in scenes],
        "wordy": [tokens(solution(scene, 1)) for scene in scenes],
    }
    return {name: [min(c), round(mean(c), 1), max(c)] for name, c in counts.items()}


def solution(scene: Scene, style: int) -> list[str]:
    """Return the texts of the reference solution in one style."""
    steps = [step.renderings[style] + "\n\n" for step in scene.steps]
    return [*steps, f"{MARKER} {scene.answer}"]


def guess(suite: str, limit: int) -> float:
    """Return the accuracy of the best guess from a question alone."""
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for index in range(TIMES * limit):
        scene = draw_scene(suite, "train", index)
        for form in forms(scene):
            counts[form][scene.answer] += 1
    right = 0
    for index in range(limit):
        scene = draw_scene(suite, "test", index)
        known = next((form for form in forms(scene) if form in counts), None)
        right += known is not None and counts[known].most_common(1)[0][0] == scene.answer
    return right / limit


def forms(scene: Scene) -> list[tuple[str, ...]]:
    """Return what is known without the images, the most exact first."""
    kind = type(scene).__name__
    return [(kind, NAMES.sub("_", scene.question)), (kind,)]


if __name__ == "__main__":
    main()
