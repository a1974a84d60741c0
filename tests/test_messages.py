from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._messages import MOST, describe, first_line, one_line, reason, short_path


@given(st.text())
def test_a_foreign_text_becomes_one_short_printable_line(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown) <= MOST


@given(st.text(max_size=300))
def test_a_path_becomes_one_short_printable_line(text: str) -> None:
    assert short_path(text).isprintable()
    assert len(short_path(text)) <= 10 * 120  # if every character is escaped


def test_line_breaks_and_terminal_escapes_do_not_reach_the_terminal() -> None:
    assert one_line("a\n\tb \x1b[2Jc\u202ed \ud83d") == r"a b \x1b[2Jc\u202ed \ud83d"


@pytest.mark.parametrize("most", [40, 300])
def test_data_in_a_text_is_left_out(most: int) -> None:
    data = b64encode(bytes(range(256)) * 100).decode()
    for text in (
        f"bad input 'data:image/png;base64,{data}' in messages",
        f"cannot open DATA:;base64,{data}",
        f'{{"input": "{data}"}}',
    ):
        shown = one_line(text, most)
        assert data[24:60] not in shown
        assert len(shown) <= most
    assert one_line(f"x 'data:image/png;base64,{data}' y") == "x 'data:image/png;base64,...' y"
    assert short_path(f"data:image/png;base64,{data}") == "data:image/png;base64,..."


def test_ordinary_text_stays_as_it_is() -> None:
    text = "the model `Qwen/Qwen3-VL-8B-Instruct` does not exist: 茶 costs 3 €"
    assert one_line(text) == text
    assert short_path("/home/me/茶.png") == "/home/me/茶.png"


def test_a_long_path_keeps_its_beginning_and_its_end() -> None:
    shown = short_path("/begin/" + "a" * 500 + "/end.png")
    assert shown.startswith("/begin/")
    assert shown.endswith("/end.png")
    assert len(shown) == 120


def test_the_reason_of_an_error_is_its_text_without_what_it_quotes() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "/s3cret")) == (
        "No such file or directory"
    )
    assert reason(TimeoutError()) == "TimeoutError"
    with pytest.raises(UnicodeEncodeError) as found:
        "s3cret \ud83d".encode()
    assert "s3cret" not in reason(found.value)


def test_a_library_that_explains_itself_on_many_lines_is_cut_to_the_first() -> None:
    assert first_line(ValueError("\n  no such\tmodel.\n\nTry this:\n...")) == "no such model"
    assert first_line(ValueError("\n")) == "ValueError"


def test_an_error_of_other_peoples_code_is_described_for_its_author() -> None:
    assert describe(ValueError("a\nb")) == "ValueError: a b"
    assert describe(ValueError()) == "ValueError"
