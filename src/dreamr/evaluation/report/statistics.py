"""Estimates with their 95 % intervals. Pure functions; what is drawn is drawn from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = 1.959964  # of the normal distribution: 95 % lie within
DRAWS = 2000
_AT_ONCE = 2_000_000  # values drawn at once, which bounds the memory

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(hits: int, count: int) -> Estimate:
    """A share and its score interval (Wilson 1927).

    Raises:
        ValueError: a share of nothing.
    """
    if count < 1:
        raise ValueError("a share of nothing has no interval")
    share, spread = hits / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * sqrt(share * (1 - share) / count + spread / count / 4)
    # At 0 and 1 an end is the share itself, but for rounding.
    low, high = min(share, middle - half), max(share, middle + half)
    return Estimate(share, max(0.0, low), min(1.0, high))


def paired_difference(base: ArrayLike, own: ArrayLike) -> Estimate:
    """Share of `own` less share of `base`, of the same problems in the same order.

    The interval is that of Bonett and Price (2012, "Adjusted Wald confidence interval for a
    difference of binomial proportions based on paired data"): one problem more that only the one
    solved, and one more that only the other did. So it has a width where both agree everywhere.

    Args:
        base: booleans, shape (problems,).
        own: the same.

    Raises:
        ValueError: no problem, or not as many of both.
    """
    first, second = _pair(base, own)
    count = len(first)
    gained, lost = int(np.sum(second > first)), int(np.sum(first > second))
    up, down = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
    half = Z * sqrt((up + down - (up - down) ** 2) / (count + 2))
    middle = up - down
    return Estimate((gained - lost) / count, max(-1.0, middle - half), min(1.0, middle + half))


def ratio_of_sums(top: ArrayLike, bottom: ArrayLike, seed: int = 0) -> Estimate:
    """sum(top) / sum(bottom), with a percentile interval from drawing problems with return.

    Args:
        top: shape (problems,).
        bottom: the same; what belongs to one problem is drawn together.
        seed: of the draws.

    Raises:
        ValueError: no problem, not as many of both, or a bottom that sums to 0.
    """
    first, second = _pair(top, bottom)
    if second.sum() == 0:
        raise ValueError("a ratio to nothing")
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw may hold zeros only
        drawn = _bootstrap(
            len(first), lambda at: first[at].sum(axis=1) / second[at].sum(axis=1), seed
        )
    return _between(float(first.sum() / second.sum()), drawn)


def median_ratio(top: ArrayLike, bottom: ArrayLike, seed: int = 0) -> Estimate:
    """The median of top / bottom over problems, with a percentile interval, as `ratio_of_sums`.

    Raises:
        ValueError: no problem, not as many of both, or a bottom of 0.
    """
    first, second = _pair(top, bottom)
    if not second.all():
        raise ValueError("a ratio to nothing")
    ratios = first / second
    drawn = _bootstrap(len(ratios), lambda at: np.median(ratios[at], axis=1), seed)
    return _between(float(np.median(ratios)), drawn)


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, each with the same weight.

    The interval is recovered from theirs (MOVER: Zou and Donner 2008, "Construction of confidence
    limits about effect measures"), which keeps what is lopsided about them.

    Raises:
        ValueError: no estimate.
    """
    if not estimates:
        raise ValueError("a mean of nothing")
    count = len(estimates)
    value = sum(e.value for e in estimates) / count
    below = sqrt(sum((e.value - e.low) ** 2 for e in estimates)) / count
    above = sqrt(sum((e.high - e.value) ** 2 for e in estimates)) / count
    return Estimate(value, value - below, value + above)


def percentile(values: ArrayLike, share: float) -> float:
    """The value that `share` percent (0 to 100) of the values do not exceed, interpolated."""
    return float(np.percentile(np.asarray(values, dtype=float), share))


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"not as many of both: shapes {a.shape} and {b.shape}")
    return a, b


def _bootstrap(count: int, statistic: Callable[[NDArray[np.int64]], Array], seed: int) -> Array:
    """The statistic of each draw. It is given numbers of problems, shape (draws, count)."""
    rng = np.random.default_rng(seed)
    per_batch = max(1, _AT_ONCE // count)
    parts = [
        statistic(rng.integers(count, size=(min(per_batch, DRAWS - done), count)))
        for done in range(0, DRAWS, per_batch)
    ]
    return np.concatenate(parts)


def _between(value: float, drawn: Array) -> Estimate:
    low, high = np.percentile(drawn[np.isfinite(drawn)], [2.5, 97.5])
    return Estimate(value, float(low), float(high))
