"""Families of gates, ordered from the strictest to the most permissive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dreamr.errors import Unsupported
from dreamr.evaluation.calibration.bounds import Tested, last_permitted
from dreamr.evaluation.calibration.by_steps import JudgedStep
from dreamr.gate import (
    GATES,
    SIGNALS,
    Gate,
    LearnedGate,
    at_strictness,
    has_threshold,
    make_gate,
    signals,
)

# Chosen before any data are seen. Finer near 1, where most scores are.
THRESHOLDS = (
    *(1 - gap for gap in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075)),
    *(round(0.9 - 0.05 * place, 2) for place in range(18)),
)
# Fewer for a calibration by answers, where each threshold costs a run of all problems.
FEW_THRESHOLDS = (0.99, 0.97, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3)
# "draft-confidence" is a cascade whose threshold applies to the draft's confidence.
# A gate without a threshold, such as "word", cannot be calibrated.
KINDS = (*(kind for kind, made in GATES.items() if has_threshold(made)), "draft-confidence")

Family = Callable[[float], Gate]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gate and its test result.

    Attributes:
        gate: The gate.
        tested: Its errors and bounds.
        accepted: Share of the decided steps that it accepted.
        accepted_tokens: Share of their tokens that it accepted.
    """

    gate: Gate
    tested: Tested
    accepted: float
    accepted_tokens: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The tested candidates, and the most permissive one that keeps the bound.

    Attributes:
        candidates: Tested candidates, from the strictest to the most permissive.
        chosen: The last that keeps the bound, or None if none does.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None


def asking_gate(kind: str, *, target_confidence: float, min_mass: float | None = None) -> Gate:
    """Return a gate that asks the models what the gates of a family ask.

    Args:
        kind: One of `KINDS`.
        target_confidence: Confidence of the target from which a cascade accepts a step without the
            judge prompt.
        min_mass: Smallest label mass that counts as an answer. None: the gates' default.

    Raises:
        Unsupported: If the kind is unknown.
    """
    if kind not in KINDS:
        raise Unsupported(f"unknown gate {kind!r}; known: {', '.join(KINDS)}")
    settings = {"target_confidence": target_confidence, "min_mass": min_mass}
    if kind == "draft-confidence":
        return make_gate("cascade", {**settings, "draft_confidence": 1.0})
    # The learned gate asks what the ratio gate asks; it has no weights yet.
    return make_gate("ratio" if kind == "learned" else kind, settings)


def family(
    kind: str,
    steps: Sequence[JudgedStep],
    *,
    target_confidence: float,
    min_mass: float | None = None,
) -> Family:
    """Return a family of gates as a function of their threshold.

    Args:
        kind: One of `KINDS`.
        steps: Training data for the learned gate; must not be tested on.
        target_confidence: See `asking_gate`.
        min_mass: See `asking_gate`.

    Raises:
        Unsupported: If the kind is unknown, or if the training data lack right or wrong steps.
    """
    base = asking_gate(kind, target_confidence=target_confidence, min_mass=min_mass)
    return partial(at_strictness, _learn(steps) if kind == "learned" else base)


def calibrate_steps(
    gates: Family, steps: Sequence[JudgedStep], risk: float, confidence: float
) -> Calibrated:
    """Find the most permissive gate of a family whose false-accept rate stays below the bound.

    Args:
        gates: The family, as a function of the threshold.
        steps: Judged steps, none of which the family was trained on.
        risk: Bound on false accepts per judged step, in (0, 1).
        confidence: Probability with which the bound must hold for other steps from the same
            distribution, in (0, 1).
    """
    tried = [gates(threshold) for threshold in THRESHOLDS]
    passed = [[step for step in steps if step.accepted_by(gate)] for gate in tried]
    errors = [sum(not step.right for step in accepted) for accepted in passed]
    last, tested = last_permitted(errors, len(steps), risk, confidence)
    whole = sum(step.situation.step.tokens for step in steps)
    candidates = tuple(
        Candidate(
            gate,
            one,
            len(accepted) / max(1, len(steps)),
            sum(step.situation.step.tokens for step in accepted) / max(1, whole),
        )
        for gate, one, accepted in zip(tried, tested, passed, strict=True)
    )
    return Calibrated(candidates, None if last is None else candidates[last])


def _learn(steps: Sequence[JudgedStep]) -> LearnedGate:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"the learned gate needs {error.name}: pip install 'dreamr[train]'"
        ) from error
    right = [step.right for step in steps]
    if len(set(right)) < 2:
        raise Unsupported(
            "the learned gate needs right and wrong steps to learn from: use more --problems"
        )
    rows = [signals(step.evidence, step.situation) for step in steps]
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows, right)
    scaler, regression = fitted[0], fitted[1]
    # Fold the scaler into the weights and the intercept.
    weights = [float(w / s) for w, s in zip(regression.coef_[0], scaler.scale_, strict=True)]
    shift = sum(w * float(m) for w, m in zip(weights, scaler.mean_, strict=True))
    assert len(weights) == len(SIGNALS)
    return LearnedGate(tuple(weights), float(regression.intercept_[0]) - shift)
