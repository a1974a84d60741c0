"""Closed forms: the speed-up over the target alone, under assumptions that one can write down.

In all of them a step of the target takes 1, a drafted step c, a verdict v; a drafted step is
accepted with probability a, independently; a rejected one is written by the target. The run is long
enough for its ends not to matter.

    a  acceptance, in [0, 1]        c  a drafted step's cost, above 0
    v  a judge call's cost          k  the window: how many drafted steps may wait
"""

from __future__ import annotations

from collections.abc import Callable

_TAIL = 1e-9  # chains that are less likely than this are not followed


def bound(a: float) -> float:
    """No chain whose rejected steps cost a target's step each is faster: 1 / (1 - a)."""
    return 1 / (1 - a) if a < 1 else float("inf")


def sequential(a: float, c: float, v: float) -> float:
    """SpecReason (arXiv 2504.07891): each step is drafted and judged, a rejected one written."""
    return 1 / (c + v + 1 - a)


def lookahead(a: float, c: float, k: int) -> float:
    """Lookahead Reasoning, rounds of k (arXiv 2506.19830, its synchronous form; no verdicts)."""
    kept = k if a == 1 else (1 - a**k) / (1 - a)
    return kept / (1 - c + c * k)


def lookahead_async(a: float, c: float, v: float = 0.0, k: int | None = None) -> float:
    """Lookahead Reasoning without rounds (arXiv 2506.19830).

    For v of 0 and k of at least 1 / c, or None, this is its 1 / (c + (1 - c) (1 - a)). Else: the
    target's own step n begins as step n-1 is drafted, at most k of them side by side, and is
    compared when it is complete, which J(n) says. Steps are drafted at D(n) = max(D(n-1), J(n-k)) +
    c, and a chain of N accepted steps and the rejected one take max(D(N), J(N+1-k)) + 1 + v.
    Holds while comparisons do not wait for each other, with v below c.
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
    """FPSR (arXiv 2605.28678, section 3) where the verdict hides behind other work.

    An accepted step costs a drafted one, a rejected step one of the target's, already under way.
    """
    return 1 / (1 - a * (1 - c))


def fpsr_ahead(a: float, c: float, v: float, k: int) -> float:
    """FPSR whose target writes at drafted prefixes too, each step judged as soon as it is there.

    The n-th step of a chain is drafted at D(n) = max(D(n-1), D(n-k) + v) + c, and the target's own
    step in its place begins as the one before it is drafted: a chain of N accepted steps and the
    rejected one behind it take D(N) + 1.
    """
    drafted = [0.0]

    def time(n: int) -> float:
        free = drafted[n - k] + v if n > k else 0.0
        drafted.append(max(drafted[-1], free) + c)
        return drafted[-1]

    return _renewal(a, time)


def fpsr_frontier(a: float, c: float, v: float, k: int) -> float:
    """FPSR as `dreamr.schedules` has it: one judge call at a time, the fallback at the frontier.

    A call takes all steps that wait when it begins. The target's own step begins with the verdict
    on the one before it: a chain of N accepted steps and the rejected one take T(N) + 1, T(n) being
    when the verdict on the n-th comes. Holds while c + v is below 1.
    """
    drafted: list[float] = [0.0]
    judged: list[float] = [0.0]

    def draft_until(time: float) -> None:
        """Draft what is complete by then; a step begins once the k-th before it is judged."""
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
            if len(drafted) <= first:  # the judge waits for the draft
                free = judged[first - k] if first > k else 0.0
                drafted.append(max(drafted[-1], free) + c)
            begin = max(judged[-1], drafted[first])
            draft_until(begin)
            judged.extend([begin + v] * (len(drafted) - first))
        return judged[n]

    return _renewal(a, time)


def _renewal(a: float, time: Callable[[int], float], rejected: float = 1.0) -> float:
    """Steps over time of a cycle: N accepted steps (N geometric), taking time(N), and a rejected.

    The mean of time(N) is the sum of its increments, each weighed by how likely a chain is to get
    so far. Where nothing is rejected, the last increments are the rate.
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
    """The closed form of a method by its name; None where there is none."""
    forms: dict[str, Callable[[], float]] = {
        "target": lambda: 1.0,
        "draft": lambda: 1 / c,
        "sequential": lambda: sequential(a, c, v),
        "specreason": lambda: sequential(a, c, v),
        "lookahead": lambda: lookahead_async(a, c, v, k),
        "fpsr": lambda: fpsr_frontier(a, c, v, k),
    }
    return forms[method]() if method in forms else None
