"""From the events of a run to pieces of reasoning, answer and calls."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from dreamr import RunOptions
from dreamr.answers import CallDelta
from dreamr.conversation import ToolCall
from dreamr.serving.gateway.apis.deltas import AnswerDelta, Delta, Deltas, ReasoningDelta
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.trace import AnswerExtended, Event, Result, RunFinished, usage_of

ASKED = ParsedRequest(
    model="dreamr", turns=(), options=RunOptions(), stop=(), stream=True, include_usage=False,
    events=False, deadline=60.0, ignored=(),
)  # fmt: skip


def finished(answer: str, calls: tuple[ToolCall, ...] = ()) -> RunFinished:
    return RunFinished(1.0, Result(answer, "", (), usage_of(()), 1.0, "answer", calls=calls))


def pieces(*events: Event, stop: tuple[str, ...] = ()) -> list[Delta]:
    deltas = Deltas(replace(ASKED, stop=stop))
    return [delta for event in events for delta in deltas.of(event)]


def said(found: list[Delta]) -> str:
    return "".join(delta.text for delta in found if isinstance(delta, AnswerDelta))


@example(["ba", "a"], ["a", "baa"])
@given(
    st.lists(st.text("ab", max_size=4), max_size=6),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=2),
)
def test_an_answer_in_pieces_ends_before_a_stop_sequence(
    texts: list[str], stops: list[str]
) -> None:
    whole, stop = "".join(texts), tuple(stops)
    events = [AnswerExtended(0.0, text) for text in texts]
    found = pieces(*events, finished(whole), stop=stop)
    assert said(found) == replace(ASKED, stop=stop).until_stop(whole)


def test_a_piece_is_sent_at_once_unless_it_may_begin_a_stop_sequence() -> None:
    assert said(pieces(AnswerExtended(0.0, "3.7"))) == "3.7"
    assert said(pieces(AnswerExtended(0.0, "3.7"), stop=("70",))) == "3."


def test_calls_in_pieces_are_not_sent_again_at_the_end() -> None:
    call = CallDelta(0, "{}", "c1", "price")
    end = finished("", (ToolCall("c1", "price", "{}"),))
    assert pieces(AnswerExtended(0.0, calls=(call,)), end) == [call]
    assert pieces(end) == [call]


def test_a_thought_in_the_same_request_comes_before_the_answer() -> None:
    found = pieces(AnswerExtended(0.0, reasoning="Hm <"), AnswerExtended(0.0, "3"), finished("3"))
    thought = "".join(delta.text for delta in found if isinstance(delta, ReasoningDelta))
    kinds = [type(delta) for delta in found if not isinstance(delta, CallDelta) and delta.text]
    assert thought == "Hm <"
    assert kinds == sorted(kinds, key=[ReasoningDelta, AnswerDelta].index)
