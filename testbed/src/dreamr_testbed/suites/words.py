"""Names of things and people, and phrases shared by several kinds of documents."""

from __future__ import annotations

from dreamr_testbed.suites.problem import ReferenceStep

GOODS = (
    "tea", "milk", "bread", "eggs", "rice", "soap", "jam", "salt", "cake", "corn",
    "beans", "fish", "oil", "nuts", "pears", "plums",
)  # fmt: skip
PEOPLE = ("Ann", "Bob", "Cid", "Dora", "Eve", "Finn", "Gus", "Ida", "Kim", "Leo", "Mia", "Tom")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri")
BARS = ("A", "B", "C", "D", "E")
READ = "Read the picture."  # prompt for the transcript of an image


def both(first: str, second: str) -> str:
    """Join two names with 'and'."""
    return f"{first} and {second}"


def result(name: str, sum_: str) -> ReferenceStep:
    """Return the step of a calculation.

    Args:
        name: 'Together', 'Difference', 'Left' or 'To pay'.
        sum_: The calculation with its result.
    """
    wordy = {
        "Together": f"Now I add the two numbers, and that gives {sum_}.",
        "Difference": f"Now I take one number from the other, and that gives {sum_}.",
        "Left": f"What is left of the money is then {sum_}.",
        "To pay": f"What they have to pay in the end is {sum_}.",
    }
    return ReferenceStep(f"{name}: {sum_}.", wordy[name])


def wanted(ask: str, first: str, second: str, unit: str) -> str:
    """Return the question for the sum or difference of two names.

    Args:
        ask: 'sum' or 'difference'.
        first: First name.
        second: Second name.
        unit: Plural of what is counted.
    """
    if ask == "sum":
        return f"How many {unit} do {both(first, second)} have together?"
    return f"How many more {unit} does {first} have than {second}?"
