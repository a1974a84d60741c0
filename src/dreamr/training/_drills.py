"""Drills: short texts without a picture that teach one skill with nearly every token.

A solution copies two names from its question and looks three facts up; a drill does so twenty
times in as many tokens. Without them copying took tens of millions of tokens to appear.
"""

from __future__ import annotations

from random import Random

from dreamr.tasks._canvas import COLOURS
from dreamr.tasks.docmath import BARS, DAYS, GOODS, PEOPLE
from dreamr.tasks.story import THINGS
from dreamr.tasks.vqa import SHAPES, SIZES

Drill = tuple[str, list[tuple[str, bool]]]  # the user's text; the answer's pieces, learnt or not

_WORDS = (*COLOURS, *SHAPES, *SIZES, *GOODS, *PEOPLE, *DAYS, *BARS, *THINGS, *"0123456789")
_SIGNS = {"+": int.__add__, "-": int.__sub__, "x": int.__mul__}


def draw_drill(rng: Random) -> Drill:
    """A random drill of a random kind."""
    return rng.choice((_copy, _pairs, _lines, _table, _sums, _cups))(rng)


def _copy(rng: Random) -> Drill:
    words = " ".join(rng.choices(_WORDS, k=rng.randint(6, 30)))
    return words, [(words, True)]


def _pairs(rng: Random) -> Drill:
    """Who wears which colour, asked both ways."""
    count = rng.randint(2, 6)
    pairs = list(zip(rng.sample(PEOPLE, count), rng.sample(tuple(COLOURS), count), strict=True))
    asked = rng.choices(pairs, k=8)
    text = ", ".join(f"{name} is {colour}" for name, colour in pairs)
    pieces = []
    for name, colour in asked:
        key, value = (name, colour) if rng.random() < 0.3 else (colour, name)
        pieces += [(f"{key}:", False), (f" {value}. ", True)]
    return text, pieces


def _lines(rng: Random) -> Drill:
    """The lines of a receipt, asked by name."""
    goods = rng.sample(GOODS, rng.randint(2, 6))
    lines = {good: f" {rng.randint(1, 9)} x {rng.randint(1, 9)}" for good in goods}
    pieces = []
    for good in rng.choices(goods, k=7):
        pieces += [(f"{good.capitalize()}:", False), (f"{lines[good]}.\n\n", True)]
    return "\n".join(good + line for good, line in lines.items()), pieces


def _table(rng: Random) -> Drill:
    """A table, asked by row and column."""
    people, days = rng.sample(PEOPLE, rng.randint(2, 5)), rng.sample(DAYS, 2)
    cells = {(who, day): rng.randint(1, 49) for who in people for day in days}
    rows = (f"{who} {cells[who, days[0]]} {cells[who, days[1]]}" for who in people)
    pieces = []
    for who, day in rng.choices(list(cells), k=7):
        pieces += [(f"{who} on {day}:", False), (f" {cells[who, day]}.\n\n", True)]
    return "\n".join((" ".join(days), *rows)), pieces


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
    """Where a thing is while cups change places."""
    cups, thing = rng.sample(tuple(COLOURS), rng.randint(3, 4)), rng.choice(THINGS)
    at = rng.choice(cups)
    pieces = [(f"Start: the {thing} is under {at}.\n\n", False)]
    for panel in range(1, 6):
        one, other = rng.sample(cups, 2)
        after = other if at == one else one if at == other else at
        how = "stays under" if after == at else "goes to"
        pieces += [
            (f"Panel {panel}: {one} and {other}.", False),
            (f" The {thing} was under {at}, it {how} {after}.\n\n", True),
        ]
        at = after
    return "", pieces
