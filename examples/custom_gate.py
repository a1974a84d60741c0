"""A gate of your own: steps with numbers need a higher ratio than other steps.

With `deterministic`, the target writes no step that the draft could have written, so every step
that the draft completes is judged.

python examples/custom_gate.py receipt.png
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from dreamr import Reasoner, RunOptions
from dreamr.gate import Evidence, RatioGate, StepContext, Verdict


@dataclass(frozen=True, slots=True)
class NumberGate(RatioGate):
    """The ratio gate, stricter about numbers.

    Attributes:
        number_threshold: Smallest ratio at which a step with a digit is accepted.
    """

    number_threshold: float = 0.95

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Decide with the threshold that fits the step."""
        if re.search(r"\d", context.step.text):
            strict = RatioGate(self.number_threshold, self.min_mass)
            return strict.decide(evidence, context)
        return RatioGate.decide(self, evidence, context)


if __name__ == "__main__":
    image = sys.argv[1] if len(sys.argv) > 1 else "receipt.png"
    with Reasoner(RunOptions(deterministic=True)) as reasoner:
        result = reasoner.ask(
            "What do tea and milk cost together?", image, gate=NumberGate(threshold=0.6)
        )
    for step in result.steps:
        needed = f"{step.verdict.threshold:.2f}" if step.verdict else "-"
        print(f"{step.source:6} needed {needed:>4}  {step.step.text.strip()}")
