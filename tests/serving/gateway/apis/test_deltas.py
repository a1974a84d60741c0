"""From the events of a run to pieces of reasoning, answer and calls."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from dreamr import RunOptions
from dreamr.answers import CallDelta, TokenLogprob
from dreamr.conversation import ToolCall
from dreamr.serving.gateway.apis.deltas import AnswerDelta, Delta, Deltas, ReasoningDelta
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.trace import AnswerExtended, Event, Result, RunFinished, usage_of

ASKED = ParsedRequest(
    model="dreamr", turns=(), options=RunOptions(), stop=(), stream=True, include_usage=False,
    events=False, deadline=60.0, ignored=(),
)  # fmt: skip


def finished(answer: str, calls: tuple[ToolCall, ...] = ()) -> RunFinished:
    return RunFinished(1.0, Result(answer, (), usage_of(()), 1.0, "answer", calls=calls))


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


@example(["ab", "ba"], ["bb"])
@given(
    st.lists(st.text("abé😀", min_size=1, max_size=4), max_size=6),
    st.lists(st.text("abé😀", min_size=1, max_size=3), max_size=2),
)
def test_log_probabilities_end_with_the_token_in_which_the_answer_ends(
    texts: list[str], stops: list[str]
) -> None:
    asked = replace(ASKED, stop=tuple(stops))
    tokens = [TokenLogprob(text, -0.1) for text in texts]
    events = [AnswerExtended(0.0, one.token, logprobs=(one,)) for one in tokens]
    last = finished("".join(texts))
    whole = asked.stopped(replace(last.result, answer_logprobs=tuple(tokens)))
    found = pieces(*events, last, stop=asked.stop)
    sent = [one for delta in found if isinstance(delta, AnswerDelta) for one in delta.logprobs]
    assert sent == list(whole.answer_logprobs)
    written = "".join(one.token for one in sent)
    assert written.startswith(whole.answer)
    assert not sent or not whole.answer.startswith(written) or written == whole.answer
    assert len(written) - len(sent[-1].token if sent else "") <= len(whole.answer)


def test_tokens_can_be_parts_of_characters_and_blanks_before_the_answer() -> None:
    parts = [TokenLogprob("\ufffd", -0.1, (byte,)) for byte in "é".encode()]
    tokens = (TokenLogprob("\n\n", -0.1), *parts, TokenLogprob(";", -0.1), TokenLogprob("a", -0.1))
    result = replace(finished("é;a").result, answer_logprobs=tokens)
    assert replace(ASKED, stop=(";",)).stopped(result).answer_logprobs == tokens[:3]


def test_calls_after_a_stop_sequence_are_left_out() -> None:
    call, whole = CallDelta(0, "{}", "c1", "price"), (ToolCall("c1", "price", "{}"),)
    end = finished("one; two", whole)
    text = AnswerExtended(0.0, "one; two")
    for events in ([text, AnswerExtended(0.0, calls=(call,)), end], [text, end], [end]):
        assert said(found := pieces(*events, stop=(";",))) == "one"
        assert call not in found
    assert replace(ASKED, stop=(";",)).stopped(end.result).calls == ()


def test_a_text_is_sent_whole_before_a_call() -> None:
    call, whole = CallDelta(0, "{}", "c1", "price"), (ToolCall("c1", "price", "{}"),)
    text, end = AnswerExtended(0.0, "one two"), finished("one two", whole)
    for events in (
        [text, AnswerExtended(0.0, calls=(call,)), end],
        [AnswerExtended(0.0, "one two", calls=(call,)), end],
    ):
        found = pieces(*events, stop=("xxxxx",))
        *before, last = [one for one in found if isinstance(one, CallDelta) or one.text]
        assert said(before) == "one two"
        assert last == call


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
