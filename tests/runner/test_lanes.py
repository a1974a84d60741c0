from __future__ import annotations

import anyio

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, SamplingParams, ScriptedEngine
from dreamr.runner.lanes import Lane, StepStream
from dreamr.steps import Finish, Step, StepFormat

TALK = Conversation((Turn("user", (Text("?"),)),))


def pumped(script: str, credit: int, begun: str = "") -> list[tuple[str, Finish | None] | str]:
    """Return the steps and pauses of a lane that is granted one step at a time."""
    said: list[tuple[str, Finish | None] | str] = []

    def say(step: Step | None, finish: Finish | None) -> None:
        said.append((step.text if step else "", finish))

    async def main() -> None:
        lane = Lane(0, "draft", 0, credit)

        def pause(paused: bool) -> None:
            said.append("waits" if paused else "goes on")
            assert (lane.since is None) == paused, "an engine is not to blame while its lane waits"
            if paused:
                lane.grant(1)

        stream = ScriptedEngine(script=script).stream(Context(TALK), SamplingParams())
        await StepStream(lane, StepFormat(), say, pause, begun).run(stream)

    anyio.run(main)
    return said


def test_a_lane_waits_for_credit_before_it_writes_on() -> None:
    assert pumped("a\n\nb\n\nc", 1) == [
        ("a\n\n", None),
        *("waits", "goes on"),
        ("b\n\n", None),
        *("waits", "goes on"),
        ("c", "stop"),
    ]


def test_a_lane_with_credit_does_not_wait() -> None:
    assert pumped("a\n\nb", 9) == [("a\n\n", None), ("b", "stop")]


def test_a_step_begun_elsewhere_is_reported_whole() -> None:
    assert pumped("d\n\nc", 9, begun="begun an") == [("begun and\n\n", None), ("c", "stop")]
    assert pumped("c", 9, begun="whole\n\n") == [("whole\n\n", None), ("c", "stop")]


def test_a_stream_without_a_step_reports_only_its_finish() -> None:
    assert pumped("", 1) == [("", "stop")]


def test_only_a_running_lane_can_stall() -> None:
    async def main() -> None:
        lane = Lane(0, "draft", 0, credit=1)
        lane.check(stall_seconds=1000.0)
        assert not lane.stalled
        lane.check(stall_seconds=0.0)
        assert lane.stalled
        assert lane.scope.cancel_called
        waiting = Lane(1, "draft", 0, credit=0, since=None)
        waiting.check(stall_seconds=0.0)
        assert not waiting.stalled

    anyio.run(main)
