"""Reading answers out of completions: no model judges, only rules.

The rules for letters join those that MMBench (arXiv 2307.06281, `can_infer` in VLMEvalKit) and
MMMU (arXiv 2311.16502, `parse_multi_choice_response`) publish for the part before any model or
any guess. All functions are pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dreamr.evaluation.tasks.answer import MARKER

_MARKER = re.compile(re.escape(MARKER.rstrip(":")) + r"\s*\**\s*:", re.IGNORECASE)
_EDGES = " \t\n*_`$\"'"

# One letter that is no part of a word. A and I are words too: A is taken for one where it begins a
# sentence ("A dog", but "A or B"), I wherever a word follows.
_LONE = (
    r"(?:[B-HJ-Z]|(?<=[a-z,:] )A|A(?!\s+(?!(?:or|and|is)\b)[a-z])|I(?!\s+[a-z]))"
    r"(?![\w'])"
)
_POINTED = (
    re.compile(r"\(([A-Z])\)"),
    re.compile(r"(?<![A-Za-z'])([A-Z])(?=[.:)](?:\s|$))"),
    re.compile(rf"(?i:option|choice|answer is)\s+\**({_LONE})"),
)
_ALONE = re.compile(rf"(?<![\w']){_LONE}")

_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def stated(text: str) -> str:
    r"""What a completion states as its answer, on one line where it uses the marker.

    The first line behind the last marker; without a marker what stands in the last `\boxed{}`;
    without a box the whole text. Marks of emphasis and a full stop are taken off.
    """
    marked = list(_MARKER.finditer(text))
    if marked:
        text = text[marked[-1].end() :].strip(_EDGES).split("\n")[0]
    return (boxed(text) or text).strip(_EDGES).rstrip(". ").strip(_EDGES)


def boxed(text: str) -> str | None:
    r"""The inside of the last `\boxed{}`; None without one that is closed."""
    _, found, rest = text.rpartition("\\boxed{")
    depth = 1
    for place, sign in enumerate(rest if found else ""):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return rest[:place]
    return None


def letter(text: str, choices: Mapping[str, str], *, last: bool = False) -> str | None:
    """The letter that a completion chooses, or None where the rules find none.

    In this order: the stated answer is one letter, or word for word a choice; letters in
    brackets, before a stop or behind "option"; letters that stand alone; the words of a choice.

    Args:
        text: the completion.
        choices: the choices by their letters.
        last: where a rule finds several letters, take the last (as MMMU does) and not none (as
            MMBench does).
    """
    said = stated(text)
    bare = said.strip(" .()").upper()
    if bare in choices:
        return bare
    whole = [name for name, words in choices.items() if said and folded(words) == folded(said)]
    if len(whole) == 1:
        return whole[0]
    for rule in (_pointed, _alone, _worded):
        places = {name: place for place, name in sorted(rule(said, choices)) if name in choices}
        if len(places) == 1 or (places and last):
            return max(places, key=lambda name: places[name])
    return None


def _pointed(said: str, choices: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for pattern in _POINTED:
        for found in pattern.finditer(said):
            yield found.start(1), found[1]


def _alone(said: str, choices: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for found in _ALONE.finditer(said):
        yield found.start(), found[0]


def _worded(said: str, choices: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for name, words in choices.items():
        if folded(words):
            pattern = rf"(?<!\w){re.escape(folded(words))}(?!\w)"
            for found in re.finditer(pattern, folded(said)):
                yield found.start(), name


def folded(text: str) -> str:
    """Blanks, case and a full stop aside."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").casefold()


def digits(text: str) -> str:
    """A number word from zero to ten as digits, anything else as it is."""
    return str(_DIGITS.index(text)) if text in _DIGITS else text
