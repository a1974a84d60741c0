"""Names of things and people, and phrases that several kinds of documents share."""

from __future__ import annotations

from dreamr_testbed.suites.problem import ReferenceStep

GOODS = (
    "tea", "milk", "bread", "eggs", "rice", "soap", "jam", "salt", "cake", "corn",
    "beans", "fish", "oil", "nuts", "pears", "plums",
)  # fmt: skip
PEOPLE = ("Ann", "Bob", "Cid", "Dora", "Eve", "Finn", "Gus", "Ida", "Kim", "Leo", "Mia", "Tom")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri")
BARS = ("A", "B", "C", "D", "E")


def both(first: str, second: str) -> str:
    """Two names as one phrase."""
    return f"{first} and {second}"


def result(name: str, sum_: str) -> ReferenceStep:
    """The step that does the sum."""
    wordy = {
        "Together": f"Now I add the two numbers, and that gives {sum_}.",
        "Difference": f"Now I take one number from the other, and that gives {sum_}.",
        "Left": f"What is left of the money is then {sum_}.",
        "To pay": f"What they have to pay in the end is {sum_}.",
    }
    return ReferenceStep(f"{name}: {sum_}.", wordy[name])


def wanted(ask: str, first: str, second: str, unit: str) -> str:
    """The question about two names."""
    if ask == "sum":
        return f"How many {unit} do {both(first, second)} have together?"
    return f"How many more {unit} does {first} have than {second}?"
