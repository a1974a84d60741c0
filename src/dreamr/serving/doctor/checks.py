"""The checks of one model, in order. Each uses the engine the same way as a run does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from dreamr.errors import DreamrError
from dreamr.serving.doctor import fixes
from dreamr.serving.doctor.caching import check_answers, check_blocks, check_cache
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.judging import check_judging, check_logprobs, check_window
from dreamr.serving.doctor.model import ModelUnderTest
from dreamr.serving.doctor.timing import check_cancellation, check_clock, check_rates
from dreamr.serving.doctor.writing import (
    check_continuation,
    check_image_cost,
    check_images,
    check_route,
    check_steps,
)

Work: TypeAlias = Callable[[ModelUnderTest], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        work: What it does.
        tried: Subject of "... failed: ERROR".
        target_only: Whether drafts are not checked.
        slow: Whether a quick examination leaves it out.
    """

    work: Work
    tried: str
    target_only: bool = False
    slow: bool = False


CHECKS: dict[str, Check] = {
    "images": Check(check_images, "answering a question"),
    "route": Check(check_route, "reading the route"),
    "continuation": Check(check_continuation, "continuing an answer"),
    "steps": Check(check_steps, "splitting an answer into steps"),
    "judging": Check(check_judging, "judging a step", target_only=True),
    "window": Check(check_window, "reading how windows are judged", target_only=True),
    "log-probabilities": Check(check_logprobs, "drawing words at random"),
    "image cost": Check(check_image_cost, "timing requests with an image", slow=True),
    "prefix cache": Check(check_cache, "timing repeated requests"),
    "cache blocks": Check(
        check_blocks, "sending prompts of growing lengths", target_only=True, slow=True
    ),
    "cached answers": Check(check_answers, "comparing greedy answers", slow=True),
    "cancellation": Check(check_cancellation, "closing a stream early"),
    "clock": Check(check_clock, "reading the server's clock"),
    "rates": Check(check_rates, "timing an answer"),
}


async def run_checks(
    tested: ModelUnderTest,
    *,
    quick: bool = False,
    time_limit: float = 60.0,
    began: Callable[[str], None] = lambda about: None,
) -> AsyncGenerator[Finding]:
    """Run the checks on one model.

    A check that raises an error or takes too long is a finding too. If the model cannot write at
    all, the remaining checks are skipped.

    Args:
        tested: Model to check; measurements are stored in it.
        quick: Whether to leave out slow checks.
        time_limit: Longest time of one check in seconds.
        began: Called with the name of each check before it runs.

    Yields:
        One finding per check.
    """
    for about, check in CHECKS.items():
        if (tested.role == "draft" and check.target_only) or (quick and check.slow):
            continue
        began(about)
        found = await _run(about, check, tested, time_limit)
        yield found
        if about == "images" and not tested.text and found.state != "ok":
            return


async def _run(about: str, check: Check, tested: ModelUnderTest, time_limit: float) -> Finding:
    with anyio.move_on_after(time_limit):
        try:
            return await check.work(tested)
        except DreamrError as error:
            return Finding(about, "wrong", f"{check.tried} failed: {error}")
    return Finding(
        about, "unknown", f"{check.tried} took longer than {time_limit:g} s", fixes.MORE_TIME
    )
