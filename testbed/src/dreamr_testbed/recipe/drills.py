"""Drills: short texts without an image that train one skill with nearly every token.

A solution copies two names from its question and looks up three facts; a drill of the same length
does so twenty times. Trained on drills alone, a decoder learns look-ups within 300 steps; with one
drill in ten examples it had not after 8,000 steps (docs/design/lab-notes.md).
"""

from __future__ import annotations

from itertools import product
from random import Random

from dreamr_testbed.suites.canvas import COLORS
from dreamr_testbed.suites.story import THINGS
from dreamr_testbed.suites.vqa import PLACES, SHAPES, SIZES, thing
from dreamr_testbed.suites.words import BARS, DAYS, GOODS, PEOPLE

# The prompt, and the pieces of the answer with whether they are trained.
Drill = tuple[str, list[tuple[str, bool]]]
# The prompt, and the steps of the answer, each with a wrong one.
JudgedDrill = tuple[str, list[tuple[str, str]]]

_WORDS = (*COLORS, *SHAPES, *SIZES, *GOODS, *PEOPLE, *DAYS, *BARS, *THINGS, *"0123456789")
_SIGNS = {"+": int.__add__, "-": int.__sub__, "x": int.__mul__}


def draw_drill(rng: Random) -> Drill:
    """Draw a drill; three of ten are copying, which look-ups build on."""
    kinds = (_copy, _copy, _copy, _pairs, _owners, _members, _places, _sums, _cups, _apples)
    return rng.choice(kinds)(rng)


def draw_judged_drill(rng: Random) -> JudgedDrill:
    """Draw a drill of steps that follow from the prompt, each with a wrong variant.

    It trains what a judge does, comparing a step with the expected one, but without an image.
    Training on solutions alone takes thousands of steps for that, on these drills a hundred.
    """
    return rng.choice((_copied_lines, _judged_lines, _judged_sums, _judged_places))(rng)


def _copied_lines(rng: Random) -> JudgedDrill:
    lines = [rng.choices(_WORDS, k=rng.randint(3, 7)) for _ in range(rng.randint(2, 4))]
    steps = []
    for line in lines:
        at = rng.randrange(len(line))
        other = rng.choice([word for word in _WORDS if word != line[at]])
        steps.append((" ".join(line), " ".join([*line[:at], other, *line[at + 1 :]])))
    return "\n".join(right for right, _ in steps), steps


def _judged_lines(rng: Random) -> JudgedDrill:
    """Draw lines of a receipt; wrong lines have one digit changed."""
    lines, steps = [], []
    for number, good in enumerate(rng.sample(GOODS, rng.randint(3, 5)), 1):
        count, price = rng.randint(1, 9), rng.randint(1, 9)
        lines.append(f"{good} {count} {price}")
        right = f"Line {number}: {good} {count} x {price} = {count * price}."
        steps.append((right, _other_digit(right, rng)))
    return "\n".join(lines), steps


def _other_digit(text: str, rng: Random) -> str:
    at = rng.choice([i for i, character in enumerate(text) if character.isdigit()])
    return text[:at] + rng.choice([d for d in "0123456789" if d != text[at]]) + text[at + 1 :]


def _judged_sums(rng: Random) -> JudgedDrill:
    steps = []
    for _ in range(4):
        a, b, sign = rng.randint(0, 50), rng.randint(0, 49), rng.choice("+-x")
        a, b = (a % 9 + 1, b % 9 + 1) if sign == "x" else (max(a, b), min(a, b))
        sum_, result = f"{a} {sign} {b} =", str(_SIGNS[sign](a, b))
        steps.append((f"{sum_} {result}.", f"{sum_} {_other_digit(result, rng)}."))
    return "\n".join(right.split("=")[0] for right, _ in steps), steps


def _judged_places(rng: Random) -> JudgedDrill:
    """Draw rows of shapes in which the place of one shape is marked; wrong rows mark another."""
    anchor, rows = _rows(rng, 4)
    steps = []
    for number, row in enumerate(rows, 1):
        right = next((at for at, cell in enumerate(row) if anchor in cell), None)
        wrong = rng.choice([at for at in (None, 0, 1, 2) if at != right])
        steps.append((_marked(number, row, right), _marked(number, row, wrong)))
    listed = "\n".join(_marked(number, row, None) for number, row in enumerate(rows, 1))
    return f"{thing(anchor)}\n{listed}", steps


def _marked(number: int, row: list[str], at: int | None) -> str:
    cells = [cell + (f" is {PLACES[i]}" if i == at else "") for i, cell in enumerate(row)]
    return f"{number}. {', '.join(cells)}."


def _copy(rng: Random) -> Drill:
    words = " ".join(rng.choices(_WORDS, k=rng.randint(6, 30)))
    return words, [(words, True)]


def _pairs(rng: Random) -> Drill:
    """Draw look-ups of the person with a color."""
    count = rng.randint(2, 6)
    pairs = dict(zip(rng.sample(tuple(COLORS), count), rng.sample(PEOPLE, count), strict=True))
    pieces = []
    for color in rng.choices(list(pairs), k=8):
        pieces += [(f"place {rng.randint(1, 4)}, {color}", False), (f" {pairs[color]}. ", True)]
    return ", ".join(f"{color} {name}" for color, name in pairs.items()), pieces


def _owners(rng: Random) -> Drill:
    """Draw look-ups of the color and the number of a person."""
    count = rng.randint(2, 4)
    colors = rng.sample(tuple(COLORS), count)
    people = {
        who: (c, rng.randint(4, 9))
        for who, c in zip(rng.sample(PEOPLE, count), colors, strict=True)
    }
    pieces = []
    for who in rng.choices(list(people), k=5):
        own, has = people[who]
        pieces += [(f"{who} is", False), (f" {own}. So {own} has {has}.\n\n", True)]
    return ", ".join(f"{who} is {c} and has {n}" for who, (c, n) in people.items()), pieces


def _members(rng: Random) -> Drill:
    """Draw tests whether a word is one of those needed."""
    words = rng.sample(rng.choice((GOODS, PEOPLE)), rng.randint(4, 6))
    needed = words[: rng.randint(1, 2)]
    pieces = []
    for line, word in enumerate(rng.choices(words, k=8), 1):
        pieces += [
            (f"Line {line}: {word}", False),
            (" yes.\n\n" if word in needed else ", no.\n\n", True),
        ]
    return f"Needed: {' and '.join(needed)}.", pieces


def _places(rng: Random) -> Drill:
    """Draw rows of shapes in which the place of one shape is marked."""
    anchor, rows = _rows(rng, 6)
    pieces = []
    for number, row in enumerate(rows, 1):
        ends = (",", ",", ".\n\n")
        for at, (cell, end) in enumerate(zip(row, ends, strict=True)):
            mark = f" is {PLACES[at]}" if anchor in cell else ""
            pieces += [(f" {cell}" if at else f"{number}. {cell}", False), (mark + end, True)]
    return f"What is left of the {thing(anchor)}?", pieces


def _rows(rng: Random, count: int) -> tuple[str, list[list[str]]]:
    """Draw a property and rows of shapes, each with at most one shape that has it."""
    cells = [f"{c} {s}" for c, s in product(COLORS, SHAPES)]
    anchor = rng.choice((*COLORS, *SHAPES))
    found = [cell for cell in cells if anchor in cell]
    others = [cell for cell in cells if anchor not in cell]
    rows = []
    for _ in range(count):
        row = [*rng.sample(others, 2), rng.choice(found if rng.random() < 0.6 else ("empty",))]
        rows.append(rng.sample(row, 3))
    return anchor, rows


def _apples(rng: Random) -> Drill:
    """Draw a running count of apples after gifts."""
    colors, who = rng.sample(tuple(COLORS), 3), rng.choice(PEOPLE)
    own, has = rng.choice(colors), rng.randint(4, 12)
    pieces = [(f"Start: {who} is {own}. So {own} has {has}.\n\n", False)]
    for panel in range(1, 6):
        giver, taker = rng.sample(colors, 2)
        n = rng.randint(1, min(4, max(1, has)))
        change = n if taker == own else -n if giver == own and has >= n else 0
        verb, sign = ("gives", "-") if change < 0 else ("gets", "+")
        sum_ = f"{has} {sign} {abs(change)} = {has + change}"
        pieces += [
            (f"Panel {panel}: {giver} gives {taker} {n}.", False),
            (f" So {own} {verb} {abs(change)}: {sum_}.\n\n", True),
        ]
        has += change
    return "", pieces


def _sums(rng: Random) -> Drill:
    pieces = []
    for _ in range(10):
        sign = rng.choice(("+", "-", "-", "+", "x"))
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        if sign == "x":
            a, b = a % 9 + 1, b % 9 + 1
        elif sign == "+":
            a, b = sorted((a, b))
            a, b = b - a, a
        elif a < b:
            a, b = b, a
        pieces += [(f"{a} {sign} {b} =", False), (f" {_SIGNS[sign](a, b)}. ", True)]
    return "", pieces


def _cups(rng: Random) -> Drill:
    """Draw the place of a thing after swaps of cups."""
    cups, item = rng.sample(tuple(COLORS), rng.randint(3, 4)), rng.choice(THINGS)
    at = rng.choice(cups)
    pieces = [(f"Start: the {item} is under {at}.\n\n", False)]
    for panel in range(1, 6):
        one, other = rng.sample(cups, 2)
        after = other if at == one else one if at == other else at
        how = "stays under" if after == at else "goes to"
        pieces += [
            (f"Panel {panel}: {one} and {other}.", False),
            (f" The {item} was under {at}, it {how} {after}.\n\n", True),
        ]
        at = after
    return "", pieces
