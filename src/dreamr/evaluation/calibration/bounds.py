"""Bounds on the risk of a gate by learn then test (arXiv 2110.01052).

The candidates are ordered from the strictest to the most permissive before any data are seen. The
null hypothesis for each is that its true risk exceeds the bound. Its p-value comes from an
exact binomial test: the probability of at most the observed errors if the risk equals the bound.
Fixed-sequence testing rejects hypotheses in order while the p-value is at most one minus the
confidence, and stops at the first that is above it. The last candidate that passed keeps the bound
with the stated confidence, for any distribution of the data. This holds for new data from the same
distribution only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Tested:
    """Test result of one candidate.

    Attributes:
        errors: Number of errors.
        cases: Number of cases.
        p: p-value, the probability of at most this number of errors if the risk equals the bound.
        upper: Upper confidence bound on the risk (Clopper-Pearson, one-sided).
    """

    errors: int
    cases: int
    p: float
    upper: float


def last_permitted(
    errors: Sequence[int], cases: int, risk: float, confidence: float
) -> tuple[int | None, tuple[Tested, ...]]:
    """Return the last candidate that keeps the bound, and the test results of all candidates.

    Fixed-sequence testing, from learn then test (arXiv 2110.01052).

    Args:
        errors: Number of errors of each candidate over the same cases, from the strictest candidate
            to the most permissive.
        cases: Number of cases.
        risk: Bound on errors per case, in (0, 1).
        confidence: Probability with which the bound must hold, in (0, 1).

    Returns:
        The index of the candidate, or None if not even the first keeps the bound, and one result
        per candidate.

    Raises:
        ValueError: If risk or confidence is outside (0, 1), or if there are more errors than cases.
    """
    for name, value in (("risk", risk), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} must be above 0 and below 1, not {value}")
    if wrong := [count for count in errors if not 0 <= count <= cases]:
        raise ValueError(f"the number of errors must be between 0 and {cases}, not {wrong[0]}")
    tested = tuple(
        Tested(n, cases, binomial_tail(n, cases, risk), upper_bound(n, cases, confidence))
        for n in errors
    )
    last = None
    for place, one in enumerate(tested):
        if one.p > 1 - confidence:
            break
        last = place
    return last, tested


def binomial_tail(errors: int, cases: int, risk: float) -> float:
    """Return the probability of at most `errors` errors in `cases` cases, each with risk `risk`."""
    if cases == 0:
        return 1.0
    log, log_not = math.log(risk), math.log1p(-risk)
    whole = math.lgamma(cases + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(
                whole
                - math.lgamma(n + 1)
                - math.lgamma(cases - n + 1)
                + n * log
                + (cases - n) * log_not
            )
            for n in range(errors + 1)
        ),
    )


# Neighboring candidates often make the same number of errors.
@lru_cache(4096)
def upper_bound(errors: int, cases: int, confidence: float) -> float:
    """Return the Clopper-Pearson upper bound on the risk, one-sided, by bisection.

    The largest risk at which at most this number of errors has a probability of at least one minus
    the confidence.
    """
    if errors >= cases:
        return 1.0
    low, high = errors / cases, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle <= 0 or binomial_tail(errors, cases, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high
