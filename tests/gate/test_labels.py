from __future__ import annotations

import pytest

from dreamr.gate import Labels

USUAL = Labels()
YES_NO = Labels.of("yes", "no")
CHINESE = Labels(("\u6b63\u786e",), ("\u9519\u8bef",))


@pytest.mark.parametrize(
    ("labels", "answer", "read"),
    [
        (USUAL, "positive", True),
        (USUAL, " Negative.", False),
        (USUAL, '**"POSITIVE"**', True),
        (USUAL, "_negative_", False),
        (USUAL, "positive: the sum is right", True),
        (USUAL, "negative\nThe price is wrong", False),
        (USUAL, "negative - the price is wrong", False),
        (YES_NO, "No, the price is wrong", False),
        (YES_NO, "nonono", False),
        (CHINESE, "\u6b63\u786e\u7684", True),
    ],
)
def test_an_answer_in_words_is_read_by_the_word_it_begins_with(
    labels: Labels, answer: str, read: bool
) -> None:
    assert labels.read(answer) is read


@pytest.mark.parametrize(
    ("labels", "answer"),
    [
        (USUAL, ""),
        (USUAL, "The step is positive"),
        (USUAL, "positively"),
        (USUAL, "negative_control"),
        (USUAL, "Negative2"),
        (YES_NO, "Nothing is wrong with it"),
        (YES_NO, "no-one"),
        (YES_NO, "Yesterday"),
        (YES_NO, "nononsense"),
        (Labels(("no", "right"), ("NO", "wrong")), "no"),
    ],
)
def test_an_answer_that_begins_with_neither_label_or_both_is_not_read(
    labels: Labels, answer: str
) -> None:
    assert labels.read(answer) is None
