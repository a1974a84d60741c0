"""Closed forms for the speed-up of a method over the target alone, under explicit assumptions.

All times are in target-step units: one step decoded by the target takes 1. A drafted step takes c
and a judge call v. Drafted steps are accepted independently with probability a, and the target
writes a step for each rejected one. The run is long enough for start and end effects to vanish.

    a  acceptance, in [0, 1]        c  cost of a drafted step, above 0
    v  cost of a judge call         k  window: drafted steps that may wait for verdicts
"""

from __future__ import annotations

from collections.abc import Callable

_TAIL = 1e-9  # probability below which longer chains of accepted steps are ignored


def bound(a: float) -> float:
    """Return 1 / (1 - a), the limit for methods that spend one target step per rejected step."""
    return 1 / (1 - a) if a < 1 else float("inf")


def sequential(a: float, c: float, v: float) -> float:
    """Return the speed-up of SpecReason (arXiv 2504.07891).

    Each step is drafted and then judged. The target writes a step for each rejected one.
    """
    return 1 / (c + v + 1 - a)


def lookahead(a: float, c: float, k: int) -> float:
    """Return the speed-up of synchronous Lookahead Reasoning (arXiv 2506.19830).

    Works in rounds of k steps. Comparing the steps costs nothing.
    """
    kept = k if a == 1 else (1 - a**k) / (1 - a)
    return kept / (1 - c + c * k)


def lookahead_async(a: float, c: float, v: float = 0.0, k: int | None = None) -> float:
    """Return the speed-up of asynchronous Lookahead Reasoning (arXiv 2506.19830).

    With v = 0 and k >= 1 / c or k = None, this is the paper's 1 / (c + (1 - c) (1 - a)).

    Otherwise, the target begins its own step n when the draft has completed step n-1, with at most
    k such steps in parallel. Step n is compared when the target has completed it, at time J(n). The
    draft completes step n at D(n) = max(D(n-1), J(n-k)) + c. A chain of N accepted steps and the
    rejected step after them take max(D(N), J(N+1-k)) + 1 + v. This holds for v < c, where
    comparisons do not wait for each other.
    """
    if k is None:
        return 1 / (a * c + (1 - a) * (1 + v))
    drafted, judged = [0.0], [0.0]

    def freed(n: int) -> float:
        return judged[n - k] if n > k else 0.0

    def time(n: int) -> float:
        own = max(drafted[n - 1], freed(n)) + 1
        drafted.append(max(drafted[n - 1], freed(n)) + c)
        judged.append(max(judged[n - 1], own + v))
        return max(drafted[n], freed(n + 1))

    return _renewal(a, time, 1 + v)


def fpsr(a: float, c: float) -> float:
    """Return the speed-up of FPSR (arXiv 2605.28678, section 3) if judge calls take no extra time.

    An accepted step costs one drafted step. A rejected step costs one target step, which is already
    being written when the verdict arrives.
    """
    return 1 / (1 - a * (1 - c))


def fpsr_ahead(a: float, c: float, v: float, k: int) -> float:
    """Return the speed-up of FPSR if the target also writes after prefixes that are not judged yet.

    Each drafted step is judged as soon as it is complete. Step n of a chain is drafted at D(n) =
    max(D(n-1), D(n-k) + v) + c. The target begins its own step n when step n-1 is drafted, so a
    chain of N accepted steps and the rejected step after them take D(N) + 1.
    """
    drafted = [0.0]

    def time(n: int) -> float:
        free = drafted[n - k] + v if n > k else 0.0
        drafted.append(max(drafted[-1], free) + c)
        return drafted[-1]

    return _renewal(a, time)


def fpsr_frontier(a: float, c: float, v: float, k: int) -> float:
    """Return the speed-up of FPSR as in `dreamr.schedules`: one judge call at a time, one fallback.

    A judge call takes all drafted steps that wait when it begins. The target begins the fallback at
    the frontier when the previous step gets its verdict, at time T(n) for step n. A chain of N
    accepted steps and the rejected step after them take T(N) + 1. This holds for c + v < 1.
    """
    drafted: list[float] = [0.0]
    judged: list[float] = [0.0]

    def draft_until(time: float) -> None:
        """Draft all steps that complete by `time`; a step begins once step n-k is judged."""
        while True:
            n = len(drafted)
            if n - k >= len(judged):
                return
            free = judged[n - k] if n > k else 0.0
            ready = max(drafted[-1], free) + c
            if ready > time + 1e-12:
                return
            drafted.append(ready)

    def time(n: int) -> float:
        while len(judged) <= n:
            first = len(judged)
            draft_until(judged[-1])
            if len(drafted) <= first:  # judging waits for the draft
                free = judged[first - k] if first > k else 0.0
                drafted.append(max(drafted[-1], free) + c)
            begin = max(judged[-1], drafted[first])
            draft_until(begin)
            judged.extend([begin + v] * (len(drafted) - first))
        return judged[n]

    return _renewal(a, time)


def _renewal(a: float, time: Callable[[int], float], rejected: float = 1.0) -> float:
    """Return steps per unit of time in a cycle of N accepted steps and one rejected step.

    N is geometric. The expected `time(N)` is the sum of its increments, each weighted by the
    probability that a chain gets that far. For a = 1, the last increment gives the rate.

    Args:
        a: Acceptance, in [0, 1].
        time: Time of the last verdict in a chain of n accepted steps, in target-step units.
        rejected: Cost of the rejected step, in target-step units.
    """
    expected, before, n, reach = 0.0, 0.0, 1, a
    while reach > _TAIL and n < 2000:
        now = time(n)
        expected += reach * (now - before)
        before, n, reach = now, n + 1, reach * a
    if a >= 1:
        return (n - 1) / before
    return 1 / ((1 - a) * (expected + rejected))


def of_method(method: str, a: float, c: float, v: float, k: int) -> float | None:
    """Return the closed form of the method of this name, or None if there is none."""
    forms: dict[str, Callable[[], float]] = {
        "target": lambda: 1.0,
        "draft": lambda: 1 / c,
        "sequential": lambda: sequential(a, c, v),
        "specreason": lambda: sequential(a, c, v),
        "lookahead": lambda: lookahead_async(a, c, v, k),
        "fpsr": lambda: fpsr_frontier(a, c, v, k),
    }
    return forms[method]() if method in forms else None
