from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import ScriptedEngine
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import (
    Event,
    Note,
    TraceError,
    event_from_json,
    event_to_json,
    read_trace,
    write_trace,
)

TALK = Conversation((Turn("user", (Text("?"),)),))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    happened: list[Event] = []

    async def main() -> None:
        await run(
            TALK,
            target=ScriptedEngine(
                script=["a\n\n", "b\n\n", "Answer: ä\u2028"], opinion={"x\n\n": 1}
            ),
            draft=ScriptedEngine(script=["x\n\n", "y\n\n", "Answer: z"]),
            config=RunConfig(options=ScheduleConfig(deterministic=True)),
            on_event=happened.append,
        )

    anyio.run(main)
    return happened


def test_a_trace_comes_back_as_it_was_written(events: list[Event], tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.jsonl", events)
    assert read_trace(tmp_path / "trace.jsonl") == events


def test_each_event_survives_json(events: list[Event]) -> None:
    for event in events[:-1]:
        assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


def test_the_result_does_not_repeat_the_events(events: list[Event]) -> None:
    values = event_to_json(events[-1])
    assert values["event"] == "RunFinished"
    assert "events" not in values["result"]
    assert len(values["result"]["steps"]) == 3


def test_an_interrupted_trace_is_readable_up_to_there(events: list[Event], tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.jsonl", events[:3])
    assert read_trace(tmp_path / "trace.jsonl") == events[:3]


@pytest.mark.parametrize(
    "line", ["no json", "[]", "{}", '{"event": "Nothing"}', '{"event": "Note", "time": 1}']
)
def test_a_line_that_is_no_event_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(event_to_json(Note(0.0, "hello"))) + "\n" + line + "\n")
    with pytest.raises(TraceError, match="line 2"):
        read_trace(path)


def test_a_file_that_is_no_text_is_no_trace(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(TraceError, match="not text"):
        read_trace(tmp_path / "picture.png")
