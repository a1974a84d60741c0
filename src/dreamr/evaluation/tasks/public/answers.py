"""Extraction of answers from completions by rules, without a judging model.

The rules for letters combine the rules of MMBench (arXiv 2307.06281, `can_infer` in VLMEvalKit)
and MMMU (arXiv 2311.16502, `parse_multi_choice_response`) that apply before any model or random
guess. All functions are pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dreamr.evaluation.tasks.answer import MARKER

_MARKER = re.compile(re.escape(MARKER.rstrip(":")) + r"\s*\**\s*:", re.IGNORECASE)
_EDGES = " \t\n*_`$\"'"

# A letter that is not part of a word. A and I can be words themselves: A counts as one at the
# beginning of a sentence ("A dog", but not "A or B"), I before any word.
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
    r"""Return the answer that a completion states.

    This is the first line after the last marker; without a marker, the content of the last
    `\boxed{}`; without a box, the whole text. Emphasis and a final period are removed.
    """
    marked = list(_MARKER.finditer(text))
    if marked:
        text = text[marked[-1].end() :].strip(_EDGES).split("\n")[0]
    return (boxed(text) or text).strip(_EDGES).rstrip(". ").strip(_EDGES)


def boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{}`, or None if there is none or it is not closed."""
    _, found, rest = text.rpartition("\\boxed{")
    depth = 1
    for place, sign in enumerate(rest if found else ""):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return rest[:place]
    return None


def letter(text: str, choices: Mapping[str, str], *, last: bool = False) -> str | None:
    """Return the letter that a completion chooses, or None if the rules find none.

    The rules, in order: the stated answer is a single letter or the text of a choice; letters in
    parentheses, before punctuation or after "option"; isolated letters; the text of a choice within
    the answer.

    Args:
        text: The completion.
        choices: The choices by their letters.
        last: If a rule finds several letters, return the last (as MMMU does) instead of None (as
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
    """Normalize whitespace and case and remove a final period."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").casefold()


def digits(text: str) -> str:
    """Return a number word from zero to ten as digits, and any other text unchanged."""
    return str(_DIGITS.index(text)) if text in _DIGITS else text
