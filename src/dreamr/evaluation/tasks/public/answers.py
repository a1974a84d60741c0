r"""Extraction of answers from completions by rules, without a judging model.

The rules for letters combine the rules of MMBench (arXiv 2307.06281, `can_infer` in VLMEvalKit)
and MMMU (arXiv 2311.16502, `parse_multi_choice_response`) that apply before any model or random
guess. All functions are pure.

Deliberate deviations from both, for forms that they do not read or read as another letter:

- Thoughts are not read (`dreamr.steps.conclusion`).
- A letter that a phrase states ("the answer is B", "option b", "故选B") counts before letters
  elsewhere in the text.
- Full-width letters, lower case after such a phrase or a marker, and markers in other languages
  count. "A" and "I" must not be words.
- A letter that is ruled out ("not B", "excluding B") does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dreamr.evaluation.tasks.answer import MARKER
from dreamr.evaluation.tasks.public.notation import half_width, unwrapped
from dreamr.steps import conclusion

_ANSWER = (  # in several languages
    rf"{re.escape(MARKER.rstrip(':'))}|答案|解答|答え|答|정답|답|antwort|lösung|réponse|respuesta|"
    r"resposta|risposta|ответ|jawaban|đáp án|odpowiedź|cevap|antwoord|svar|\bans\.?"
)
_MAX_LENGTH = 20_000  # characters at the end of a completion that are read
# All repetitions are bounded, so that hostile texts are read in linear time.
_MARKER = re.compile(
    rf"(?:{_ANSWER})[*_\])\s]{{0,4}}:"
    rf"|^[#*_ ]{{0,9}}(?:(?:the|final|correct) ){{0,2}}(?:{_ANSWER})[*_ ]{{0,9}}\n"
    r"|\[答案\]",
    re.IGNORECASE | re.MULTILINE,
)
_TAGGED = re.compile(r"<answer>([^<]{0,500})</answer>", re.IGNORECASE)
_BOX = re.compile(r"\\f?box(?:ed)?\s{0,4}\{")
_EDGES = " \t\n*_`$\"'"

_STATES = (
    r"(?:answer|correct (?:option|choice|letter))(?:'s| is| would be| must be| should be)"
    r"|(?<!不)(?:答案|选项)应?该?[是为選选]"
    r"|答えは|正解は|정답은|답은|antwort (?:ist|lautet)|réponse (?:correcte )?est"
    r"|respuesta (?:correcta )?es|resposta (?:correta )?é|risposta (?:corretta )?è|ответ\s?[-—–]"  # noqa: RUF001
)
_PHRASE = re.compile(rf"(?:{_STATES})[\s:]{{0,4}}", re.IGNORECASE)

# A letter that is not part of a word. A and I can be words themselves: A counts as one at the
# beginning of a sentence ("A dog", but not "A or B"), I before any word.
_REASON = r"(?:or|and|is|because|since|as|for|but)\b"
_LONE = (
    rf"(?:[B-HJ-Z]|(?<=[a-z,:] )A|A(?!\s{{1,9}}(?!{_REASON})[a-z])|I(?!\s{{1,9}}[a-z]))"
    r"(?![\w'])"
)
# In lower case, which is read only where a letter is expected, no letter may precede a word.
_SMALL = (
    rf"[a-z](?=[)\]:]|[.!?]?[\s*_`\"']{{0,4}}(?:$|\n)|[.,;!]\s|[\s*_]{{1,4}}{_REASON})(?![\w'])"
)
_OPENING = r"[\s*_`\"'$(\[{]{0,6}"
_EXPECTED = (
    rf"{_OPENING}(?:(?i:option|choice|letter|选项)[\s:]{{0,4}})?{_OPENING}"
    rf"(?<![A-Za-z'])({_LONE}|{_SMALL})"
)
_FIRST = re.compile(_EXPECTED)
_STATED = re.compile(
    rf"(?i:{_STATES}|\b(?:choose|pick|select)|(?<!不)[选選](?:择|擇|项|項)?)"
    rf"[\s:]{{0,4}}{_EXPECTED}"
)
# After a comma, another letter may begin a new clause: "A, B is wrong".
_NO_CLAUSE = r"(?=[\s*_`)\]]{0,4}(?:$|[\n.,;!/或和]|or\b|and\b))"
_FURTHER = re.compile(
    rf"[\s*_`)\]]{{0,4}}(?:(?:[/或和]|or\b|and\b){_EXPECTED}|,{_EXPECTED}{_NO_CLAUSE})"
)
_POINTED = (
    re.compile(rf"\b(?i:option|choice)[\s:]{{0,4}}{_EXPECTED}"),
    re.compile(r"[(\[]([A-Z])[)\]]"),
    re.compile(r"(?<![A-Za-z'])([A-Z])(?=[.:)](?:\s|$))"),
)
_ALONE = re.compile(rf"(?<![\w']){_LONE}")
_RULED_OUT = re.compile(
    r"(?i:(?:\bnot|n't|\bnor|\bneither|\bexcept|\bexclud(?:e|es|ing)|\beliminat(?:e|es|ing)"
    r"|\brul(?:e|es|ing) out|不是|不选|排除)"
    rf"(?:\s{{0,4}}(?:\b(?:the|option|choice|answer|be)\b|选项)){{0,3}}){_OPENING}([A-Z])(?![\w'])"
    r"|(?<![\w'])([A-Z])[)\]*]{0,3} (?i:(?:is|was|can be) (?:excluded|eliminated|ruled out))"
)
_CJK = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
_BESIDE_CJK = re.compile(
    rf"(?<={_CJK})(?=[A-Za-z](?![A-Za-z0-9]))|(?<![A-Za-z0-9][A-Za-z])(?<=[A-Za-z])(?={_CJK})"
)

_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def stated(text: str, *, phrases: bool = False) -> str:
    r"""Return the answer that a completion states outside thoughts.

    This is the first line after the last marker; without a marker, the content of the last
    `\boxed{}`; without a box, the whole text. Emphasis and a final period are removed.

    Args:
        text: The completion.
        phrases: Whether a phrase such as "the answer is" counts like a marker, if there is neither
            a marker nor a box.
    """
    return _found(text, phrases=phrases)[0]


def _found(text: str, *, phrases: bool = False) -> tuple[str, bool]:
    """Return the stated answer, and whether a marker or a box introduces it."""
    text = half_width(conclusion(text)[-_MAX_LENGTH:])
    places = [found.end() for found in _MARKER.finditer(text)]
    tagged = _TAGGED.findall(text)
    if tagged:
        text = tagged[-1]
    elif places:
        text = text[places[-1] :].strip(_EDGES).split("\n")[0]
    box = boxed(text)
    introduced = bool(tagged or places or box)
    if phrases and not introduced and (stating := list(_PHRASE.finditer(text))):
        text = text[stating[-1].end() :].split("\n")[0]
    return (box or text).strip(_EDGES).rstrip(". ").strip(_EDGES), introduced


def boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{}`, or None if there is none or it is not closed."""
    start = max((found.end() for found in _BOX.finditer(text)), default=len(text))
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return None


def letter(text: str, choices: Mapping[str, str], *, last: bool = False) -> str | None:
    """Return the letter that a completion chooses, or None if the rules find none.

    The rules, in order: the stated answer is a single letter or the text of a choice; a letter at
    its beginning; letters after a phrase such as "the answer is"; letters in parentheses or before
    punctuation; isolated letters; the text of a choice within the answer.

    Args:
        text: The completion.
        choices: The choices by their letters.
        last: If a rule finds several letters, return the last (as MMMU does) instead of None (as
            MMBench does).
    """
    said, introduced = _found(text)
    said = _BESIDE_CJK.sub(" ", unwrapped(said)).strip()
    bare = said.strip(" .,:;!()[]{}*_`$\"'").upper()
    if bare in choices:
        return bare
    whole = [name for name, words in choices.items() if said and folded(words) == folded(said)]
    if len(whole) == 1:
        return whole[0]
    denied = {found.start(found.lastindex or 0) for found in _RULED_OUT.finditer(said)}
    for rule in (_first, _stated, _pointed, _alone, _worded)[0 if introduced else 1 :]:
        expected = rule in (_first, _stated)
        excluded = set() if expected or rule is _worded else {said[place] for place in denied}
        places = {
            name: place
            for place, name in sorted(rule(said, choices))
            if name in choices and place not in denied and name not in excluded
        }
        if len(places) == 1 or (places and last):
            return max(places, key=lambda name: places[name])
        if places and expected:
            return None
    return None


def _first(said: str, choices: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    if found := _FIRST.match(said):
        yield from _letters(found, said)


def _stated(said: str, choices: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for found in _STATED.finditer(said):
        yield from _letters(found, said)


def _letters(found: re.Match[str] | None, said: str) -> Iterator[tuple[int, str]]:
    """Yield the letter that a pattern has found, and further ones after "or"."""
    while found is not None:
        group = found.lastindex or 1
        yield found.start(group), found[group].upper()
        found = _FURTHER.match(said, found.end())


def _pointed(said: str, choices: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for pattern in _POINTED:
        for found in pattern.finditer(said):
            yield found.start(1), found[1].upper()


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
    """Normalize whitespace, width and case, and remove a final period."""
    return re.sub(r"\s+", " ", half_width(text)).strip().rstrip(".").casefold()


def digits(text: str) -> str:
    """Return a number word from zero to ten as digits, and any other text unchanged."""
    return str(_DIGITS.index(text)) if text in _DIGITS else text
