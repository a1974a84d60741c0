from __future__ import annotations

from typing import Any

import pytest

from dreamr.conversation import Conversation, Text, Tool, ToolCall, Turn
from dreamr.training import Record
from dreamr.training.record_turns import tools_from_json, turn_from_json, turn_to_json
from dreamr.training.records import Records, to_line

TURNS = (
    Turn("user", (Text("How warm is it?"),)),
    Turn("assistant", (), (ToolCall("a", "weather", "{}"),), reasoning="Look it up."),
    Turn("tool", (Text("21 degrees"),), call_id="a"),
)


def test_a_conversation_with_tools_survives_a_line_of_the_records(tmp_path: Any) -> None:
    talk = Conversation(TURNS, (Tool("weather", "Ask.", strict=True),))
    one = Record("a", "fpsr", talk, (), (), True, None)
    file = tmp_path / "records.jsonl"
    file.write_text(to_line(one) + "\n", encoding="utf-8")
    assert list(Records([file])) == [one]


def test_a_plain_turn_has_no_further_values() -> None:
    assert turn_to_json(TURNS[0]).keys() == {"role", "parts"}


@pytest.mark.parametrize(
    "values",
    [
        None,
        {"role": "friend", "parts": []},
        {"role": "user"},
        {"role": "tool", "parts": [], "call_id": 3},
        {"role": "assistant", "parts": [], "reasoning": None},
        {"role": "assistant", "parts": [], "calls": {}},
        {"role": "assistant", "parts": [], "calls": [{"id": "a"}]},
        {"role": "assistant", "parts": [], "calls": [{"id": 1, "name": "", "arguments": ""}]},
    ],
)
def test_what_is_no_turn_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"instead|missing|turn|list|ToolCall"):
        turn_from_json(values)


def test_what_is_no_list_of_tools_is_refused() -> None:
    with pytest.raises(ValueError, match="strict"):
        tools_from_json([{"name": "", "description": "", "parameters": "", "strict": "yes"}])
