"""Where thoughts begin and end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.steps import (
    StepFormat,
    StepSplitter,
    TagFilter,
    conclusion,
    ends_inside,
    opens_thought,
    without_tags,
)
from dreamr.steps.thoughts import TAGS, Thoughts

FAMILIES = [pytest.param(*tags, id=tags[0]) for tags in TAGS]
PIECES = st.lists(
    st.sampled_from(
        [tag for pair in TAGS for tag in pair]
        + ["<think>", "</think>", "<THINK>", "`<think>`", "<|end|>", "<", "<th", "ink>", "</", "|>"]
        + ["Answer:", "Answer: 7", "a ", "B", "\n", "\n\n", "é", " "]
    ),
    max_size=25,
)


def chunked(text: str, data: st.DataObject) -> list[str]:
    places = st.lists(st.integers(0, len(text)), max_size=12)
    bounds = [0, *sorted(data.draw(places)), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


@pytest.mark.parametrize(("opening", "closing"), FAMILIES)
def test_the_answer_is_what_follows_the_thought(opening: str, closing: str) -> None:
    for text in (
        f"{opening}\nAnswer: 7?\n{closing}\n\nIt is 5.",
        f"{opening.upper()}Answer: 7{closing.upper()}It is 5.",
        f"Answer: 7?\n\n{closing}\n\nIt is 5.",  # the template has opened it
        f"{opening}a{closing}b{opening}c{closing}It is 5.",
        f"{opening}a{opening}b{closing}Answer: 7{closing}It is 5.",
    ):
        assert conclusion(text).strip() == "It is 5."


@pytest.mark.parametrize(("opening", "closing"), FAMILIES)
def test_a_thought_without_an_end_has_no_answer(opening: str, closing: str) -> None:
    assert conclusion(f"{opening}Answer: 7") == ""
    assert conclusion("Answer: 7", opened=True) == ""
    assert conclusion(f"{opening}a{opening}b{closing}Answer: 7{closing}") == ""
    assert conclusion(f"It is 5.{opening}Answer: 7").strip() == "It is 5."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>I will close <think> once.</think>It is 5.", "It is 5."),
        ("The tag `<think>` begins a thought.", "The tag `` begins a thought."),
        ("<think>a</think>It is 5.</think>", "It is 5."),
        ("It is 5.<think>Let me check: yes.</think>\n", "It is 5."),
        ("<think>a</think>", ""),
        ("It is 5.", "It is 5."),
        ("x <th y", "x <th y"),
        ("", ""),
        (
            "<|channel|>analysis<|message|>7?<|end|><|start|>assistant"
            "<|channel|>final<|message|>It is 5.<|return|>",
            "It is 5.",
        ),
        ("So it is <|begin_of_box|>5<|end_of_box|> cm.", "So it is 5 cm."),
    ],
)
def test_mentions_and_stray_tags_do_not_hide_the_answer(text: str, said: str) -> None:
    assert conclusion(text).strip() == said


def test_a_template_opens_a_thought_if_its_prompt_ends_with_the_tag() -> None:
    assert opens_thought("<user>Think in <think> tags.<assistant>\n<think>\n")
    assert not opens_thought("<user>Think in <think> tags.<assistant>\n")
    assert not opens_thought("<assistant>\n<think>\n\n</think>\n\n")
    assert not opens_thought("")


def test_a_blank_line_stands_for_the_tags_between_two_texts() -> None:
    assert without_tags("<think>\nOne.\n</think>\n\nTwo.") == "One.\n\nTwo."
    assert without_tags("One.\n\n</think>Two.") == "One.\n\nTwo."
    assert without_tags("<th<think>ink>") == "<th\n\nink>"
    assert without_tags("<th<|end|>ink>") == "<th\n\nink>"
    assert without_tags("2 < 3") == "2 < 3"


@given(PIECES, st.booleans(), st.data())
def test_any_chunking_finds_the_same_thoughts(
    pieces: list[str], opened: bool, data: st.DataObject
) -> None:
    text = "".join(pieces)
    whole, parts, shown = Thoughts(opened=opened), Thoughts(opened=opened), TagFilter()
    tags = whole.push(text)
    chunks = chunked(text, data)
    assert [tag for chunk in chunks for tag in parts.push(chunk)] == tags
    assert parts.inside == whole.inside == ends_inside(text, opened=opened)
    assert parts.unanswered == whole.unanswered
    assert parts.conclusion == whole.conclusion == conclusion(text, opened=opened)
    assert "".join(map(shown.push, chunks)) + shown.close() == without_tags(text)


@given(PIECES, st.booleans())
def test_no_output_contains_a_tag(pieces: list[str], opened: bool) -> None:
    text = "".join(pieces)
    for shown in (conclusion(text, opened=opened), without_tags(text)):
        assert without_tags(shown) == shown
        assert not any(tag.lower() in shown.lower() for pair in TAGS for tag in pair)


@given(st.text())
def test_a_text_without_tags_stays_as_it_is(text: str) -> None:
    if not any(pair[0][0] in text for pair in TAGS):
        assert without_tags(text) == text


@given(PIECES, st.booleans(), st.data())
def test_any_chunking_gives_the_same_steps_with_thoughts(
    pieces: list[str], opened: bool, data: st.DataObject
) -> None:
    text = "".join(pieces)
    place = data.draw(st.integers(0, len(text)))
    prefix, rest = text[:place], text[place:]
    uncapped = StepFormat(max_tokens=10**9, max_answer_tokens=10**9, opens_thought=opened)

    def cut(chunks: list[str]) -> list[tuple[str, object]]:
        splitter = StepSplitter(uncapped, prefix=prefix)
        steps = [step for chunk in chunks for step in splitter.push(chunk, len(chunk))]
        tail = splitter.finish()
        steps += [tail] if tail is not None else []
        assert "".join(step.text for step in steps) + splitter.pending == rest
        assert sum(step.tokens for step in steps) + splitter.pending_tokens == len(rest)
        assert all(step.tokens >= 0 for step in steps)
        return [(step.text, step.ending) for step in steps]

    assert cut(chunked(rest, data)) == cut([rest])
