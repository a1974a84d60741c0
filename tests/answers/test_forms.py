from __future__ import annotations

import dataclasses

import pytest

from dreamr.answers import PLAIN, AnswerForm, Choice, JsonSchema, Regex
from dreamr.conversation import BadConversation, Conversation, Text, Tool, Turn

ASKED = Conversation((Turn("user", (Text("How warm is it?"),)),))
WITH_TOOL = dataclasses.replace(ASKED, tools=(Tool("weather"),))


def test_forms_are_values_that_can_be_hashed() -> None:
    schema = JsonSchema('{"type": "object"}')
    forms = {AnswerForm(format=schema), AnswerForm(format=JsonSchema('{"type": "object"}'))}
    assert len(forms) == 1
    assert len({AnswerForm(format=Regex("a")), AnswerForm(format=Choice(("a",))), PLAIN}) == 3


def test_an_answer_is_shaped_by_tools_that_may_be_called_a_format_or_logprobs() -> None:
    assert not PLAIN.shapes(ASKED)
    assert PLAIN.shapes(WITH_TOOL)
    assert not AnswerForm(tool_choice="none").shapes(WITH_TOOL)
    assert AnswerForm(format=Regex("[0-9]+")).shapes(ASKED)
    assert AnswerForm(top_logprobs=0).shapes(ASKED)


@pytest.mark.parametrize("count", [-1, 21])
def test_the_number_of_alternatives_is_bounded(count: int) -> None:
    with pytest.raises(ValueError, match="top_logprobs must be between 0 and 20"):
        AnswerForm(top_logprobs=count)


def test_an_unknown_tool_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, none or required"):
        AnswerForm(tool_choice="maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (AnswerForm(tool="clock"), "the tool clock, which is not among the tools"),
        (AnswerForm(tool_choice="required"), "must call a tool, but there are none"),
        (AnswerForm(format=JsonSchema("{")), "not JSON text"),
        (AnswerForm(format=JsonSchema("[" * 200_000)), "not JSON text"),
        (AnswerForm(format=JsonSchema('{"maximum": 1e999}')), "not JSON text"),
        (AnswerForm(format=JsonSchema('{"const": "\\ud800"}')), "not JSON text"),
        (AnswerForm(format=JsonSchema("{}", name="a\ud800")), "half of a character"),
        (AnswerForm(format=Choice(("a", "\ud800"))), "half of a character"),
        (AnswerForm(format=Regex("\ud800")), "half of a character"),
    ],
)
def test_a_form_that_does_not_fit_the_conversation_is_refused(
    form: AnswerForm, message: str
) -> None:
    with pytest.raises(BadConversation, match=message):
        form.check(ASKED)
