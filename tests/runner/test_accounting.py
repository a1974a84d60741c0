"""Tokens are counted once and all lanes are closed, whatever the engines do."""

from __future__ import annotations

from contextlib import suppress

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Failure, ScriptedEngine
from dreamr.errors import EngineError, EngineLost, RunFailed
from dreamr.runner import RunConfig, run
from dreamr.schedules import METHODS, ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import Event, LaneClosed, LaneOpened, RunFinished, StepCommitted, usage_of

TALK = Conversation((Turn("user", (Text("?"),)),))
STEPS = st.lists(
    st.sampled_from(["a b\n\n", "c\n\n", "d e f g h i\n\n", "\n", "Answer: 4", "j"]), max_size=8
)
FAILURES = st.dictionaries(
    st.integers(0, 5),
    st.builds(
        Failure,
        st.sampled_from([EngineError("busy"), EngineLost("gone"), KeyError("defect")]),
        st.integers(0, 6),
    ),
    max_size=2,
)
ENGINES = st.builds(
    ScriptedEngine,
    script=STEPS,
    opinion=st.dictionaries(st.sampled_from(["a b\n\n", "c\n\n", "j"]), st.floats(0, 1)),
    stream_failures=FAILURES,
    judge_failures=FAILURES,
)
OPTIONS = st.builds(
    ScheduleConfig,
    window=st.integers(1, 3),
    fallback=st.sampled_from(["eager", "idle", "on-reject"]),
    deterministic=st.booleans(),
    final_answer=st.sampled_from(["target", "draft"]),
    max_steps=st.integers(1, 8),
    max_tokens=st.integers(1, 30),
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(METHODS), ENGINES, ENGINES, OPTIONS, st.integers(1, 8))
def test_every_token_is_counted_once_and_every_lane_is_closed(
    method: str, big: ScriptedEngine, small: ScriptedEngine, options: ScheduleConfig, cap: int
) -> None:
    events: list[Event] = []
    chosen = RunConfig(method=method, options=options, step_format=StepFormat(max_tokens=cap))

    async def main() -> None:
        with anyio.fail_after(30), suppress(RunFailed):
            await run(TALK, target=big, draft=small, config=chosen, on_event=events.append)

    anyio.run(main)
    assert isinstance(events[-1], RunFinished)
    result = events[-1].result
    usage = result.usage
    assert (big.open_streams, small.open_streams) == (0, 0)
    assert (usage.target.written, usage.draft.written) == (big.written, small.written)
    assert min(usage.draft.canceled, usage.target.canceled) >= 0
    assert usage == usage_of(events)
    opened = sorted(event.lane for event in events if isinstance(event, LaneOpened))
    assert opened == sorted(event.lane for event in events if isinstance(event, LaneClosed))
    committed = [event.step for event in events if isinstance(event, StepCommitted)]
    assert [c.step for c in result.steps] == committed
