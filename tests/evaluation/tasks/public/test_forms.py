"""Forms in which models write letters and values: tables of right and wrong readings."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from dreamr.evaluation.tasks.public import formulas
from dreamr.evaluation.tasks.public.answers import letter, stated
from dreamr.evaluation.tasks.public.values import same_value

FORMS = Path(__file__).parent / "forms"
ANIMALS = {"A": "a dog", "B": "a cat", "C": "an apple", "D": "a pear"}


def rows(name: str) -> list[list[str]]:
    lines = (FORMS / name).read_text(encoding="utf-8").splitlines()
    _, *table = [line.split("\t") for line in lines if not line.startswith("# ")]
    return [[cell.replace("⏎", "\n") for cell in row] for row in table]


@pytest.mark.parametrize(("text", "one", "last"), rows("letters.tsv"))
def test_a_completion_chooses_a_letter(text: str, one: str, last: str) -> None:
    assert (letter(text, ANIMALS) or "-") == one
    assert (letter(text, ANIMALS, last=True) or "-") == last


@pytest.mark.parametrize(("given", "wanted", "same"), rows("values.tsv"))
def test_a_value_is_the_same_or_not(given: str, wanted: str, same: str) -> None:
    assert same_value(given, wanted) is (same == "yes")


@pytest.mark.skipif(find_spec("math_verify") is None, reason="needs math-verify")
@pytest.mark.parametrize(("given", "wanted", "same"), rows("formulas.tsv"))
def test_a_formula_is_the_same_or_not(given: str, wanted: str, same: str) -> None:
    assert same_value(given, wanted) is (same == "yes")


@pytest.mark.parametrize("name", ["letters.tsv", "values.tsv", "formulas.tsv"])
def test_a_third_of_the_forms_are_wrong_answers(name: str) -> None:
    table = rows(name)
    wrong = [row for row in table if row[-1] == "no" or row[1] == "-"]
    assert 3 * len(wrong) >= len(table)


SIZE = 300_000
HOSTILE = [
    "{" * SIZE,
    r"\boxed{" * (SIZE // 7),
    r"\text{" * 5000 + "x" + "}" * 5000,
    r"\sqrt{" * 5000 + "2" + "}" * 5000,
    "Answer" + " " * SIZE,
    "not " * (SIZE // 4),
    "the answer is " + "a or " * (SIZE // 5),
    "是A" * (SIZE // 2),
    "<think>" * (SIZE // 7),
    "<" * SIZE,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].strip())
def test_a_hostile_completion_is_read_in_linear_time(text: str) -> None:
    """With a rule of quadratic time, one of these takes many minutes."""
    for completion in (text, f"Answer: {text}"):
        assert letter(completion, {"X": "a dog", "Y": "a cat"}, last=True) is None
        assert not same_value(stated(completion, phrases=True), "5")


@pytest.mark.parametrize(
    "text",
    ["9^9^9^9", "9^{9^{9^9}}", "(" * 99 + "1" + ")" * 99, r"\frac" * 30, "[" * 190, "±" * 99],
)
def test_a_hostile_value_is_no_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_SECONDS", 0.5)
    assert not same_value(text, "5")


@pytest.mark.skipif(find_spec("math_verify") is None, reason="needs math-verify")
def test_a_formula_that_takes_too_long_is_wrong_and_the_next_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert same_value("x+1", "1+x")  # the process has started
    monkeypatch.setattr(formulas, "_SECONDS", 0.5)
    assert not same_value("9^{9^{9^9}}+x", "x-9^{9^{9^9}}")
    monkeypatch.undo()
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(same_value("x+1", "1+x")))
    thread.start()
    thread.join()
    assert found == [True]


def test_formulas_without_math_verify_are_compared_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_installed", lambda: False)
    assert not same_value("x+1", "1+x")
    assert same_value("x + 1", "x+1")
