"""Values in plain text and in LaTeX."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.evaluation.tasks.public.numbers import quantity
from dreamr.evaluation.tasks.public.values import same_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("14", 14),
        ("-3.5", -3.5),
        ("1,234,567", 1234567),
        ("$\\frac{3}{4}$", 0.75),
        ("\\frac{\\sqrt{3}}{2}", math.sqrt(3) / 2),
        ("2\\sqrt{3}", 2 * math.sqrt(3)),
        ("2√3 cm", 2 * math.sqrt(3)),
        ("x = 70^{\\circ}", 70),
        ("\\angle AOB = 70°", 70),
        ("12\\pi", 12 * math.pi),
        ("4 \\times 10^{3}", 4000),
        ("25 square units", 25),
        ("6 \\text{ cm}^2", 6),
        ("1\\frac{1}{2}", 1.5),
        ("2 3/4", 2.75),
        ("\\frac{1+\\sqrt{5}}{2}", (1 + math.sqrt(5)) / 2),
        ("\\sqrt[3]{8}", 2),
        ("10^{-3}", 0.001),
        ("007", 7),
        ("1.5e-3", 0.0015),
        ("2x", None),
        ("1or 2", None),
        ("y = 2x + 1", None),
        ("three", None),
        ("9**9**9**9", None),
        ("1/0", None),
        ("", None),
        ("(" * 150, None),
        ("1+" * 5000 + "1", None),
        ("__import__('os')", None),
    ],
)
def test_a_text_gives_a_number_or_none(text: str, value: float | None) -> None:
    found = quantity(text)
    assert (found and float(found.value)) == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    "text",
    [
        "3-2",
        "3\u20132",
        "2021-05-03",
        "5/3/2021",
        "05/06",
        "555-1234",
        "10 - 20 km",
        "2+3",
        "1920 \\times 1080",
        "555(1234)",
        "(1+2)(3)",
        "-(3-2)",
        "\\sqrt{5-1}",
    ],
)
def test_arithmetic_is_not_a_number(text: str) -> None:
    assert quantity(text) is None


@given(st.lists(st.integers(1, 3000), min_size=3, max_size=4), st.sampled_from("-/+"))
def test_numbers_that_are_joined_are_not_one_number(parts: list[int], sign: str) -> None:
    assert quantity(sign.join(map(str, parts))) is None


@pytest.mark.parametrize(
    ("given", "wanted", "same"),
    [
        ("70°", "70", True),
        ("\\frac{1}{3}", "0.333", True),
        ("0.33", "\\frac{1}{3}", False),
        ("2000", "2001", False),
        ("2x+1", "y = 2x + 1", True),
        ("(1+2)(3)", "9", True),
        ("(2, 3)", "(2,3)", True),
        ("Isosceles", "isosceles", True),
        ("2x", "2", False),
        ("", "", True),
        ("x =", "y =", False),
        ("1" * 500, "1", False),
        ("so " * 500, "so " * 500, True),
    ],
)
def test_values_are_compared_as_numbers_or_else_as_texts(
    given: str, wanted: str, same: bool
) -> None:
    assert same_value(given, wanted) is same


@given(st.text(), st.text())
def test_no_text_breaks_the_comparison(given: str, wanted: str) -> None:
    assert same_value(given, wanted) == same_value(wanted, given)


@given(st.floats(-1e6, 1e6).map(lambda value: round(value, 4)))
def test_a_number_equals_itself_with_a_name_or_a_unit(value: float) -> None:
    for text in (f"{value}", f"$x = {value}$", f"{value:.4f} cm"):
        assert same_value(text, str(value))


@given(st.integers(-(10**9), 10**9), st.integers(1, 1000))
def test_whole_numbers_must_be_equal(value: int, more: int) -> None:
    assert not same_value(str(value), str(value + more))
