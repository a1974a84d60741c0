"""Wrong arguments of a Reasoner are one line that says what is taken."""

from __future__ import annotations

from typing import Any

import pytest

from dreamr import BadOption, DreamrError, Reasoner
from support.pairs import QUESTION, Pair

WRONG_CALLS: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((None,), {}, "the question must be text or a Conversation, not None"),
    ((3,), {}, "the question must be text or a Conversation, not a value of type int"),
    (([],), {}, "the question must be text or a Conversation, not a value of type list"),
    ((b"What?",), {}, "the question must be text or a Conversation, not a value of type bytes"),
    ((QUESTION, None), {}, "cannot attach None: pass a path"),
    ((QUESTION, 3), {}, "cannot attach a value of type int"),
    ((QUESTION, [["a.png"]]), {}, "cannot attach a value of type list"),
    ((QUESTION,), {"options": {"window": 3}}, "options must be RunOptions, not a dict: pass"),
    ((QUESTION,), {"window": 3}, "window is an option: pass options=RunOptions(window=...)"),
    ((QUESTION,), {"option": None}, "a run has no argument option; did you mean options?"),
    ((QUESTION,), {"images": ["a.png"]}, "attachments follow the question without a name"),
    ((QUESTION,), {"on_event": 3}, "on_event must be a function, not 3"),
    ((QUESTION,), {"hooks": 3}, "hooks must be a list of hooks, not 3"),
    ((QUESTION,), {"gate": 0.7}, "gate must be a gate, such as RatioGate(0.7), not 0.7"),
]


@pytest.mark.parametrize(("given", "named", "says"), WRONG_CALLS)
def test_arguments_of_other_types_are_one_line_that_says_what_is_taken(
    given: tuple[Any, ...], named: dict[str, Any], says: str, pair: Pair
) -> None:
    with Reasoner(open_model=pair) as reasoner, pytest.raises(DreamrError) as caught:
        reasoner.ask(*given, **named)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_options_of_another_type_are_refused_when_a_reasoner_is_made() -> None:
    with pytest.raises(BadOption, match="options must be RunOptions, not 'fast'"):
        Reasoner("fast")  # type: ignore[arg-type]
