"""Estimates with 95 % intervals. All functions are pure; bootstraps use a fixed seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = 1.959964  # 97.5th percentile of the standard normal distribution
DRAWS = 2000  # of a bootstrap
_BATCH = 2_000_000  # values drawn in one batch; bounds the memory

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(hits: int, count: int) -> Estimate:
    """Estimate a share with its score interval (Wilson 1927).

    Args:
        hits: Number of successes.
        count: Number of trials.

    Raises:
        ValueError: If `count` is less than 1.
    """
    if count < 1:
        raise ValueError("a share needs at least one trial")
    share, spread = hits / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * sqrt(share * (1 - share) / count + spread / count / 4)
    # At shares of 0 and 1, rounding could move an end past the share.
    low, high = min(share, middle - half), max(share, middle + half)
    return Estimate(share, max(0.0, low), min(1.0, high))


def paired_difference(base: ArrayLike, own: ArrayLike) -> Estimate:
    """Estimate the share of `own` minus the share of `base` on the same problems.

    Interval of Bonett and Price (2012, "Adjusted Wald confidence interval for a difference of
    binomial proportions based on paired data"). It adds one problem that only `own` solves and one
    that only `base` solves, so that the interval has a width even if both always agree.

    Args:
        base: Whether each problem is solved, shape (problems,).
        own: The same for the other method, in the same order.

    Raises:
        ValueError: If the arrays are empty or differ in length.
    """
    first, second = _pair(base, own)
    count = len(first)
    gained, lost = int(np.sum(second > first)), int(np.sum(first > second))
    up, down = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
    half = Z * sqrt((up + down - (up - down) ** 2) / (count + 2))
    middle = up - down
    return Estimate((gained - lost) / count, max(-1.0, middle - half), min(1.0, middle + half))


def ratio_of_sums(top: ArrayLike, bottom: ArrayLike, seed: int = 0) -> Estimate:
    """Estimate sum(top) / sum(bottom) with a percentile interval from a bootstrap over problems.

    Args:
        top: Numerators, shape (problems,).
        bottom: Denominators of the same problems, shape (problems,); both are drawn together.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If the arrays are empty or differ in length, or if `bottom` sums to 0.
    """
    first, second = _pair(top, bottom)
    if second.sum() == 0:
        raise ValueError("a ratio needs a denominator other than 0")
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw may contain only zeros
        drawn = _bootstrap(
            len(first), lambda at: first[at].sum(axis=1) / second[at].sum(axis=1), seed
        )
    return _between(float(first.sum() / second.sum()), drawn)


def median_ratio(top: ArrayLike, bottom: ArrayLike, seed: int = 0) -> Estimate:
    """Estimate the median of top / bottom with a percentile interval, see `ratio_of_sums`.

    Args:
        top: Numerators, shape (problems,).
        bottom: Denominators of the same problems, shape (problems,).
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If the arrays are empty or differ in length, or if `bottom` contains 0.
    """
    first, second = _pair(top, bottom)
    if not second.all():
        raise ValueError("a ratio needs a denominator other than 0")
    ratios = first / second
    drawn = _bootstrap(len(ratios), lambda at: np.median(ratios[at], axis=1), seed)
    return _between(float(np.median(ratios)), drawn)


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Average independent estimates with equal weights.

    The interval is recovered from theirs (MOVER: Zou and Donner 2008, "Construction of confidence
    limits about effect measures"), which preserves their asymmetry.

    Raises:
        ValueError: If there are no estimates.
    """
    if not estimates:
        raise ValueError("a mean needs at least one estimate")
    count = len(estimates)
    value = sum(e.value for e in estimates) / count
    below = sqrt(sum((e.value - e.low) ** 2 for e in estimates)) / count
    above = sqrt(sum((e.high - e.value) ** 2 for e in estimates)) / count
    return Estimate(value, value - below, value + above)


def percentile(values: ArrayLike, share: float) -> float:
    """Return the interpolated percentile of values; `share` is in percent."""
    return float(np.percentile(np.asarray(values, dtype=float), share))


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(
            f"expected two arrays of equal length, not of shapes {a.shape} and {b.shape}"
        )
    return a, b


def _bootstrap(count: int, statistic: Callable[[NDArray[np.int64]], Array], seed: int) -> Array:
    """Return the statistic of each draw; it gets problem indices of shape (draws, count)."""
    rng = np.random.default_rng(seed)
    per_batch = max(1, _BATCH // count)
    parts = [
        statistic(rng.integers(count, size=(min(per_batch, DRAWS - done), count)))
        for done in range(0, DRAWS, per_batch)
    ]
    return np.concatenate(parts)


def _between(value: float, drawn: Array) -> Estimate:
    low, high = np.percentile(drawn[np.isfinite(drawn)], [2.5, 97.5])
    return Estimate(value, float(low), float(high))
