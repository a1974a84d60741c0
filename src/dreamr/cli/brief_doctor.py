"""The doctor's findings about a pair that `dreamr up` has started, in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from dreamr._options import RunOptions
from dreamr.engines import OpenModel, is_served
from dreamr.errors import DreamrError
from dreamr.serving.doctor import Finding, ModelUnderTest, pair_checks, run_checks
from dreamr.steps import Role

_CHECK_SECONDS = 30.0  # for one check
_ALWAYS_SHOWN = "worth it"


async def examine(run: RunOptions, open_model: OpenModel, show: Callable[[str], None]) -> None:
    """Check the served models of a pair quickly, and show what is not as it should be.

    Args:
        run: Options of runs of the pair.
        open_model: Opens a model.
        show: Called with a line on each finding.
    """
    seen: dict[Role, ModelUnderTest] = {}
    states: list[str] = []

    def note(of: str, found: Finding) -> None:
        states.append(found.state)
        if found.state in ("degraded", "wrong") or found.about == _ALWAYS_SHOWN:
            fix = f"; try {found.fix}" if found.fix and found.state != "ok" else ""
            show(f"doctor: {of}, {found.about}: {found.state}: {found.what}{fix}")

    for role in run.roles:
        source = run.source(role)
        if not is_served(source.location):
            continue
        show(f"doctor: checking the {role}")
        try:
            model = await open_model(source)
        except DreamrError as error:
            show(f"doctor: {role}: {error}")
            continue
        seen[role] = tested = ModelUnderTest(role, model)
        try:
            async with aclosing(
                run_checks(tested, quick=True, time_limit=_CHECK_SECONDS)
            ) as findings:
                async for found in findings:
                    note(role, found)
        finally:
            await model.engine.aclose()
    if len(seen) == 2:
        for found in pair_checks(seen["target"], seen["draft"]):
            note("together", found)
    if states:
        show(f"doctor: {states.count('ok')} of {len(states)} findings are ok")
