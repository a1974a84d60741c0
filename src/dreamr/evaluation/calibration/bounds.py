"""How permissive a gate may be, said with a confidence: learn then test.

Candidates are put in an order from the strictest to the most permissive before the data are looked
at. For each, one asks how likely it would be to see so few errors if its true risk were as large as
the bound; that is the p-value of an exact binomial test. Fixed-sequence testing walks on while the
p-value stays below one minus the confidence, and stops at the first that does not: the last one
that passed keeps its promise with the stated confidence, whatever the distribution is
(arXiv 2110.01052). It holds for new data of the same kind, and for no other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Tested:
    """What one candidate did: so many errors in so many cases, and how that speaks for it.

    p: the probability of no more errors if the risk were at the bound. upper: the largest risk that
    is compatible with the errors, at the confidence.
    """

    errors: int
    cases: int
    p: float
    upper: float


def last_permitted(
    errors: Sequence[int], cases: int, risk: float, confidence: float
) -> tuple[int | None, tuple[Tested, ...]]:
    """The last candidate that may be used, and what was found of all; None if none may.

    Args:
        errors: of each candidate, from the strictest to the most permissive, over the same cases.
        cases: how many.
        risk: the bound on errors a case, in (0, 1).
        confidence: with which it is to hold, in (0, 1).

    Raises:
        ValueError: bounds outside (0, 1), or more errors than cases.
    """
    for name, value in (("risk", risk), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} must lie between 0 and 1, not at {value}")
    if any(not 0 <= count <= cases for count in errors):
        raise ValueError(f"errors of {cases} cases cannot be {max(errors)}")
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
    """The probability of at most so many errors in so many cases, each with this risk."""
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


# Candidates that differ by little make as many errors, and are tested again and again.
@lru_cache(4096)
def upper_bound(errors: int, cases: int, confidence: float) -> float:
    """The largest risk at which so few errors are still as likely as one minus the confidence.

    Clopper and Pearson's one-sided bound, by bisection.
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
