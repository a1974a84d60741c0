from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.steps import Ending, Step, StepFormat, StepSplitter

UNCAPPED = StepFormat(max_tokens=10**9, max_answer_tokens=10**9)


def cut(
    chunks: list[str], step_format: StepFormat = UNCAPPED, *, truncated: bool = False
) -> tuple[list[Step], StepSplitter]:
    splitter = StepSplitter(step_format)
    steps = [step for chunk in chunks for step in splitter.push(chunk, 1)]
    tail = splitter.finish(truncated=truncated)
    return steps + ([tail] if tail else []), splitter


def texts(*chunks: str) -> list[str]:
    return [step.text for step in cut(list(chunks))[0]]


def test_a_step_includes_its_delimiter() -> None:
    assert texts("one\n\ntwo\n\nthree") == ["one\n\n", "two\n\n", "three"]


def test_a_delimiter_may_arrive_in_two_chunks() -> None:
    assert texts("one\n", "\ntwo") == ["one\n\n", "two"]


def test_several_steps_may_arrive_in_one_chunk() -> None:
    steps = StepSplitter().push("one\n\ntwo\n\nthr", 6)
    assert [step.text for step in steps] == ["one\n\n", "two\n\n"]
    assert sum(step.tokens for step in steps) < 6


def test_leading_blank_lines_belong_to_the_step() -> None:
    assert texts("\n\n", "\n\none\n\n", " \n\n two") == ["\n\n\n\none\n\n", " \n\n two"]


def test_a_third_newline_begins_the_next_step() -> None:
    assert texts("one\n\n\n", "two") == texts("one\n", "\n\ntwo") == ["one\n\n", "\ntwo"]


@given(st.lists(st.tuples(st.sampled_from(["a", "\n", "\n\n", "b c"]), st.floats(-9, 0))))
def test_steps_carry_log_probabilities(chunks: list[tuple[str, float]]) -> None:
    """Sums are kept; a step's lowest is that of the chunks of which it contains a part."""
    splitter = StepSplitter(UNCAPPED)
    steps = [step for text, logprob in chunks for step in splitter.push(text, 1, logprob, logprob)]
    if (tail := splitter.finish()) is not None:
        steps.append(tail)
        assert sum(step.logprob or 0 for step in steps) == pytest.approx(sum(s for _, s in chunks))
    spans, at = [], 0
    for text, logprob in chunks:
        spans.append((at, at + len(text), logprob))
        at += len(text)
    start = 0
    for step in steps:
        stop = start + len(step.text)
        assert step.min_logprob == min(logprob for a, b, logprob in spans if a < stop and b > start)
        start = stop


def test_one_unknown_log_probability_makes_the_sum_unknown() -> None:
    splitter = StepSplitter(UNCAPPED)
    splitter.push("one ", 1, -1.0, -1.0)
    (step,) = splitter.push("two\n\n", 1)
    assert (step.logprob, step.min_logprob) == (None, None)
    (step,) = splitter.push("three\n\n", 1, -1.0, -1.0)
    assert (step.logprob, step.min_logprob) == (-1.0, -1.0)


def test_a_step_has_the_entropy_of_its_first_token() -> None:
    splitter = StepSplitter()
    chunks = [("Tea", 0.5), (" is", 2.0), (".\n\n", 3.0), ("Milk", 0.25), (".\n\n", 9.0)]
    found = [
        step for text, entropy in chunks for step in splitter.push(text, 1, None, None, entropy)
    ]
    assert [step.entropy for step in found] == [0.5, 0.25]
    splitter.push("Rest", 1, -1.0, -1.0)
    last = splitter.finish()
    assert last is not None
    assert last.entropy is None


@pytest.mark.parametrize("tokens", [1, 2])
def test_a_step_that_begins_inside_a_chunk_has_no_entropy(tokens: int) -> None:
    splitter = StepSplitter()
    splitter.push("Tea.\n\nMilk", tokens, None, None, 0.5)
    (step,) = splitter.push(" is.\n\n", 1, None, None, 2.0)
    assert step.entropy is None
    (step,) = splitter.push("Rest.\n\n", 1, None, None, 0.25)
    assert step.entropy == 0.25


def test_white_space_at_the_end_makes_no_step() -> None:
    steps, splitter = cut(["one\n\n", "\n", " "])
    assert [step.text for step in steps] == ["one\n\n"]
    assert (splitter.pending, splitter.pending_tokens) == ("\n ", 2)


def test_an_empty_stream_has_no_steps() -> None:
    assert cut([])[0] == []


def test_a_delimiter_that_is_not_white_space() -> None:
    steps, _ = cut(["a#", "##b", "###"], StepFormat(delimiter="###"))
    assert [step.text for step in steps] == ["a###", "b###"]


def test_the_answer_runs_to_the_end_of_the_stream() -> None:
    steps, _ = cut(["one\n\n", "\nAns", "wer: 4\n\nor", " 5\n\n"])
    assert steps[1] == Step("\nAnswer: 4\n\nor 5\n\n", 3, Ending.ANSWER)
    assert steps[1].is_answer


@pytest.mark.parametrize("text", ["Ans", "The Answer: 4", "answer: 4"])
def test_only_the_marker_itself_makes_an_answer(text: str) -> None:
    assert [step.ending for step in cut([text])[0]] == [Ending.END]


def test_without_a_marker_nothing_is_an_answer() -> None:
    steps, _ = cut(["Answer: 4"], StepFormat(answer_marker=None))
    assert [step.ending for step in steps] == [Ending.END]


def test_a_step_that_reaches_the_cap_is_cut_and_the_next_continues() -> None:
    steps, _ = cut(list("abcdefg"), StepFormat(max_tokens=3))
    assert [(s.text, s.tokens, s.ending) for s in steps] == [
        ("abc", 3, Ending.CAP),
        ("def", 3, Ending.CAP),
        ("g", 1, Ending.END),
    ]


def test_a_step_that_ends_exactly_at_the_cap_is_not_cut() -> None:
    steps, _ = cut(["a", "b", "\n\n"], StepFormat(max_tokens=3))
    assert [step.ending for step in steps] == [Ending.DELIMITER]


def test_endless_white_space_is_cut_too() -> None:
    steps, _ = cut(["\n"] * 5, StepFormat(max_tokens=4))
    assert steps == [Step("\n\n\n\n", 4, Ending.CAP)]


def test_the_answer_has_its_own_cap_and_nothing_follows_it() -> None:
    step_format = StepFormat(max_tokens=2, max_answer_tokens=4)
    steps, splitter = cut(["Answer:", " 1", "2", "3", "4\n\n", "more\n\n"], step_format)
    assert steps == [Step("Answer: 123", 4, Ending.CAP)]
    assert splitter.done
    assert splitter.pending_tokens == 2


def test_a_stream_cut_by_a_limit_leaves_a_cut_step() -> None:
    assert cut(["one"], truncated=True)[0] == [Step("one", 1, Ending.CAP)]
    assert cut(["Answer: 1"], truncated=True)[0] == [Step("Answer: 1", 1, Ending.CAP)]


def test_a_token_across_the_boundary_belongs_to_the_step_it_ends() -> None:
    steps, _ = cut(["one", "\n\ntwo", "\n\n"])
    assert [step.tokens for step in steps] == [2, 1]


def test_tokens_without_text_count_for_the_current_step() -> None:
    steps, _ = cut(["", "é", "", "\n\n"])
    assert steps == [Step("é\n\n", 4, Ending.DELIMITER)]


def test_the_answer_is_the_text_after_the_marker() -> None:
    assert StepFormat().answer("\nAnswer: 4 \n") == "4"
    assert StepFormat().answer("four") is None
    assert StepFormat(answer_marker=None).answer("Answer: 4") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"delimiter": ""},
        {"answer_marker": ""},
        {"answer_marker": " A"},
        {"delimiter": "w", "answer_marker": "Answer"},
        {"max_tokens": 0},
        {"max_answer_tokens": 0},
    ],
)
def test_invalid_formats_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"delimiter|marker|token"):
        StepFormat(**wrong)  # type: ignore[arg-type]


PIECES = st.lists(
    st.sampled_from(["\n", "\n\n", " ", "a", "be", "Ans", "wer:", "Answer:", "é", "\t"]),
    max_size=25,
)


@given(PIECES, st.data())
def test_any_chunking_gives_the_same_steps(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    places = st.lists(st.integers(0, len(text)), max_size=12)
    bounds = [0, *sorted(data.draw(places)), len(text)]
    chunks = [text[a:b] for a, b in pairwise(bounds)]
    whole, _ = cut([text])
    parts, _ = cut(chunks)
    assert [(s.text, s.ending) for s in parts] == [(s.text, s.ending) for s in whole]


@given(PIECES, st.lists(st.integers(0, 3), min_size=25, max_size=25), st.integers(1, 6))
def test_texts_and_tokens_add_up_to_the_stream(
    pieces: list[str], tokens: list[int], cap: int
) -> None:
    splitter = StepSplitter(StepFormat(max_tokens=cap, max_answer_tokens=cap))
    steps = [s for p, n in zip(pieces, tokens, strict=False) for s in splitter.push(p, n)]
    tail = splitter.finish()
    steps += [tail] if tail else []
    assert "".join(s.text for s in steps) + splitter.pending == "".join(pieces)
    assert sum(s.tokens for s in steps) + splitter.pending_tokens == sum(tokens[: len(pieces)])
    assert all(s.text.strip() or s.ending is Ending.CAP for s in steps)
    assert all(s.tokens >= 0 for s in steps)


@given(PIECES, st.integers(1, 6))
def test_the_cap_is_exact_where_a_chunk_is_a_token(pieces: list[str], cap: int) -> None:
    steps, _ = cut(pieces, StepFormat(max_tokens=cap, max_answer_tokens=cap))
    assert all(step.tokens <= cap for step in steps)
    assert all(step.tokens == cap for step in steps if step.ending is Ending.CAP)


def endings(*chunks: str, prefix: str = "", opened: bool = False) -> list[tuple[str, Ending]]:
    splitter = StepSplitter(StepFormat(opens_thought=opened), prefix=prefix)
    steps = [step for chunk in chunks for step in splitter.push(chunk, 1)]
    tail = splitter.finish()
    return [(step.text, step.ending) for step in steps + ([tail] if tail else [])]


STEP, ANSWER = Ending.DELIMITER, Ending.ANSWER


def test_the_marker_inside_a_thought_begins_no_answer() -> None:
    text = "<think>\nSee.\n\nAnswer: 7?\n\nNo.</think>\n\nAnswer: 5"
    steps = [
        ("<think>\nSee.\n\n", STEP),
        ("Answer: 7?\n\n", STEP),
        ("No.</think>", STEP),
        ("\n\nAnswer: 5", ANSWER),
    ]
    assert endings(text) == endings(*text) == steps
    assert endings("Answer: 7?\n\nNo.</think>\n\nAnswer: 5", prefix=steps[0][0]) == steps[1:]


def test_an_answer_turns_out_to_be_in_a_thought_that_the_template_opened() -> None:
    text = "See.\n\nAnswer: 7?\n\nNo.</think>\nAnswer: 5"
    steps = [
        ("See.\n\n", STEP),
        ("Answer: 7?\n\n", STEP),
        ("No.</think>", STEP),
        ("\nAnswer: 5", ANSWER),
    ]
    for opened in (False, True):
        assert endings(text, opened=opened) == endings(*text, opened=opened) == steps


@pytest.mark.parametrize(
    ("text", "opened"),
    [("<think>Answer: 7", False), ("Answer: 7", True), ("<think>So.</think>\n", False)],
)
def test_a_stream_that_ends_with_a_thought_says_so(text: str, opened: bool) -> None:
    assert endings(text, opened=opened)[-1][1] is Ending.THOUGHT
    assert endings("", prefix=text, opened=opened) == [("", Ending.THOUGHT)]


def test_a_thought_after_the_answer_does_not_undo_it() -> None:
    assert endings("Answer: 5 <think>I hope") == [("Answer: 5 <think>I hope", ANSWER)]
    assert endings("So it is 5.\n\n<think>Yes.</think>")[-1] == ("<think>Yes.</think>", STEP)


def test_the_tokens_of_an_answer_that_was_none_are_shared_among_its_steps() -> None:
    splitter = StepSplitter()
    assert splitter.push("Answer: 7?\n\nAnswer: 8?\n\n", 12) == []
    steps = splitter.push("No.</think>\n\nAnswer: 5", 6)
    assert [step.tokens for step in steps] == [6, 6, 3]
    assert splitter.pending_tokens == 3
