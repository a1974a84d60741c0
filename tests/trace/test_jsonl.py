from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from dreamr.answers import CallDelta, TokenLogprob
from dreamr.conversation import Conversation, Text, ToolCall, Turn
from dreamr.engines import ScriptedEngine
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import (
    AnswerExtended,
    Event,
    Note,
    Result,
    RunFinished,
    TraceError,
    Usage,
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


def test_a_result_is_written_as_the_trace_of_the_whole_run(
    events: list[Event], tmp_path: Path
) -> None:
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    write_trace(tmp_path / "trace.jsonl", finished.result)
    *earlier, last = read_trace(tmp_path / "trace.jsonl")
    assert earlier == events[:-1]
    assert last == RunFinished(finished.result.seconds, finished.result)


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


BROKEN_LINES = {
    "no json": "not valid JSON",
    '{"event": "No': "not valid JSON",
    "[]": "not an event of a trace: not a JSON object",
    "{}": "not an event of a trace: 'event' is missing",
    '{"event": "Nothing"}': "not an event of a trace: unknown event 'Nothing'",
    '{"event": ["Note"]}': "not an event of a trace: a value has the wrong type",
    '{"event": "Note", "time": 1}': "not an event of a trace: 'message' is missing",
    '{"event": "Note", "time": "now", "message": ""}': (
        "not an event of a trace: 'time' has the wrong type"
    ),
    '{"event": "StepReady", "time": 1, "lane": 0, "role": "draft", "position": 0, "step": 3}': (
        "not an event of a trace: a value has the wrong type"
    ),
}


def error_of(path: Path) -> str:
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_a_broken_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(event_to_json(Note(0.0, "hello"))) + "\n" + line + "\n")
    assert error_of(path) == f"{path}, line 2: {BROKEN_LINES[line]}"


def test_a_truncated_last_line_is_named(events: list[Event], tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, events[:3])
    path.write_text(path.read_text()[:-9])
    assert error_of(path) == f"{path}, line 3: not valid JSON"


def test_a_binary_file_is_not_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"PNG\n\xff\xfe")
    assert error_of(path) == f"{path}, line 2: not UTF-8 text"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert error_of(tmp_path) == f"cannot read {tmp_path}: Is a directory"
    missing = tmp_path / "none.jsonl"
    assert error_of(missing) == f"cannot read {missing}: No such file or directory"


def test_a_formed_answer_survives_json() -> None:
    likely = TokenLogprob("21", -0.1, (50, 49), (TokenLogprob("22", -2.3),))
    delta = AnswerExtended(0.5, "21", "Think.", (CallDelta(0, "{}", "a", "weather"),), (likely,))
    result = Result(
        "21",
        (),
        Usage(),
        1.0,
        "answer",
        calls=(ToolCall("a", "weather", "{}"),),
        answer_logprobs=(likely,),
    )
    for event in (delta, RunFinished(1.0, result)):
        assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event
    assert result.to_json()["calls"] == [{"id": "a", "name": "weather", "arguments": "{}"}]
