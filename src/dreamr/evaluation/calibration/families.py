"""Gates in the order in which they are tested: from the strictest to the most permissive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dreamr.errors import Unsupported
from dreamr.evaluation.calibration.bounds import Tested, last_permitted
from dreamr.evaluation.calibration.by_steps import JudgedStep
from dreamr.gate import GATES, SIGNALS, CascadeGate, Gate, LearnedGate, at_strictness, signals

# Chosen before any data are seen, and finer where most steps lie.
THRESHOLDS = (
    *(1 - gap for gap in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075)),
    *(round(0.9 - 0.05 * place, 2) for place in range(18)),
)
# Fewer where each means a run of every problem.
FEW_THRESHOLDS = (0.99, 0.97, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3)
# `draft_confidence` is a cascade whose threshold is how sure the draft must be.
KINDS = (*GATES, "draft-confidence")

Family = Callable[[float], Gate]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gate and what it did to what it was tested on.

    accepted: share of the steps that it decided on, and `accepted_tokens` of their tokens.
    """

    gate: Gate
    tested: Tested
    accepted: float
    accepted_tokens: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """All candidates that were tested, and the last that keeps the bound; None where none does."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None


def family(kind: str, steps: Sequence[JudgedStep], *, target_confidence: float) -> Family:
    """The gates of a kind, by their threshold.

    steps: to learn from, for a kind that learns; they must not be tested on.

    Raises:
        Unsupported: an unknown kind, or one that learns without right and wrong steps.
    """
    match kind:
        case "cascade":
            base: Gate = CascadeGate(target_confidence=target_confidence)
        case "draft-confidence":
            base = CascadeGate(target_confidence=target_confidence, draft_confidence=1.0)
        case "learned":
            base = _learn(steps)
        case _ if kind in GATES:
            base = GATES[kind]()
        case _:
            raise Unsupported(f"unknown gate {kind!r}; known: {', '.join(KINDS)}")
    return partial(at_strictness, base)


def calibrate_steps(
    gates: Family, steps: Sequence[JudgedStep], risk: float, confidence: float
) -> Calibrated:
    """The most permissive gate of a family whose false accepts a judged step stay below the bound.

    Args:
        gates: by their threshold.
        steps: none of which the family has been learnt from.
        risk: false accepts a judged step, in (0, 1).
        confidence: with which the bound is to hold for other steps of the same kind, in (0, 1).
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
            f"a learned gate needs {error.name}: pip install 'dreamr[train]'"
        ) from error
    right = [step.right for step in steps]
    if len(set(right)) < 2:
        raise Unsupported("a gate learns from right steps and wrong ones: take more problems")
    rows = [signals(step.evidence, step.situation) for step in steps]
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows, right)
    scaler, regression = fitted[0], fitted[1]
    # The scales become part of the weights.
    weights = [float(w / s) for w, s in zip(regression.coef_[0], scaler.scale_, strict=True)]
    shift = sum(w * float(m) for w, m in zip(weights, scaler.mean_, strict=True))
    assert len(weights) == len(SIGNALS)
    return LearnedGate(tuple(weights), float(regression.intercept_[0]) - shift)
