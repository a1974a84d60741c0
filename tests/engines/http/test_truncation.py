"""No run reports success on a truncated stream."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreamr.conversation import Conversation
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import RunFailed
from dreamr.runner import RunConfig, run
from dreamr.trace import Result
from support.raw_served import DONE, Json, RawServed, Reply, good, lines

SCRIPT = "Tea costs 2.\n\nMilk costs 3 €, 茶🍵.\n\nBoth cost 5.\n\nAnswer: 5 and no more"
TALK = Conversation.from_prompt("What do tea and milk cost?")

Cut = tuple[float, str]  # part of the body that is sent, and how it ends
CUTS = st.tuples(
    st.floats(0.0, 1.0), st.sampled_from(["closed", "reset", "event", "done", "whole"])
)


pytestmark = pytest.mark.usefixtures("no_pauses")


def truncated(found: list[Json], cut: Cut) -> Reply:
    part, end = cut
    if end == "whole":
        return good(found)
    body = b"".join(good(found).pieces)  # type: ignore[arg-type]
    count = int(part * len(body))
    if end == "closed":
        return Reply([body[:count]])
    if end == "reset":
        return Reply([body[:count], httpx2.ReadError("reset")])
    kept = [lines(event) for event in found[: int(part * (len(found) - 1))]]
    return Reply([*kept, DONE] if end == "done" else list(kept))


async def ask(method: str, cuts: list[Cut], *, again: bool) -> Result:
    """Run against servers that truncate their responses, later ones like the last if `again`."""

    def stream(number: int, found: list[Json]) -> Reply:
        if number > len(cuts) and not again:
            return good(found)
        return truncated(found, cuts[min(number, len(cuts)) - 1])

    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(
                HttpEngine(HttpOptions(url=f"http://{role}"), RawServed(SCRIPT, stream).transport)
            )
            for role in ("target", "draft")
        ]
        draft = engines[1] if method != "target" else None
        return await run(TALK, target=engines[0], draft=draft, config=RunConfig(method=method))


@pytest.mark.parametrize("method", ["target", "fpsr"])
@given(cuts=st.lists(CUTS, min_size=1, max_size=6), again=st.booleans())
@example(cuts=[(0.5, "closed"), *[(0.0, "closed")] * 3, (0.75, "event")], again=True)
@example(
    cuts=[(0.5, "closed"), *[(0.0, "closed")] * 2, (0.0, "done"), (0.75, "event"), (0.75, "done")],
    again=False,
)
@example(
    cuts=[(0.5, "closed"), *[(0.0, "closed")] * 2, (0.0, "done"), (0.75, "done"), (0.75, "done")],
    again=False,
)
@settings(max_examples=60, deadline=None)
def test_no_run_reports_success_on_a_truncated_stream(
    method: str, cuts: list[Cut], again: bool
) -> None:
    try:
        result = anyio.run(lambda: ask(method, cuts, again=again))
    except RunFailed:
        return
    assert result.finish != "length"
    assert result.text == SCRIPT
    assert result.answer == "5 and no more"
