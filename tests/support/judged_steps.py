"""Judged steps with known truth and plausible evidence."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from dreamr.evaluation.calibration import JudgedStep
from dreamr.gate import Evidence, StepContext
from dreamr.steps import Ending, Step


def steps(count: int, wrong: float = 0.05, seed: int = 0) -> list[JudgedStep]:
    """Return steps; right ones mostly have high ratios and margins, wrong ones rarely do."""
    return list(_steps(count, wrong, seed))


@cache
def _steps(count: int, wrong: float, seed: int) -> tuple[JudgedStep, ...]:
    draws = np.random.default_rng(seed)
    found = []
    for number in range(count):
        right = bool(draws.random() >= wrong)
        ratio = float(draws.beta(30, 1) if right else draws.beta(1, 3))
        min_margin = float(draws.beta(8, 1) if right else draws.beta(1, 8))
        evidence = Evidence(ratio, 1 - ratio, -0.1, 9, 0, (), "", -1.0, min_margin**0.2, min_margin)
        least = math.log(draws.beta(20, 1) if right else draws.beta(2, 2))
        step = Step(f"Step {number}.\n\n", 9, Ending.DELIMITER, 2 * least, least)
        found.append(JudgedStep("made", evidence, StepContext(step, number % 5), right))
    return tuple(found)
