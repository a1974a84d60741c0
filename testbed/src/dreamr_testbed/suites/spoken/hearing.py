"""How words are heard: drawn from counts of real transcripts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from importlib.resources import files
from random import Random

WORD = re.compile(r"[A-Za-z]+|\d+")
TABLE = "heard.json"


@dataclass(frozen=True, slots=True)
class Voice:
    """How a Whisper model hears a voice.

    Attributes:
        name: Name of the voice.
        words: For each word that was misheard at least once, how often it was heard as what; an
            empty text if it was left out. In lower case.
    """

    name: str
    words: Mapping[str, Mapping[str, int]]

    def hear(self, text: str, rng: Random) -> str:
        """Return a transcript of a text."""
        drawn = WORD.sub(lambda found: self._word(found[0], rng), text)
        return re.sub(r"\s+([,.?]|$)", r"\1", re.sub(r" {2,}", " ", drawn)).strip()

    def _word(self, word: str, rng: Random) -> str:
        counts = self.words.get(word.lower())
        if counts is None:
            return word
        found = rng.choices(list(counts), list(counts.values()))[0]
        return found[:1].upper() + found[1:] if word[:1].isupper() else found


@lru_cache(maxsize=1)
def voices() -> tuple[Voice, ...]:
    """Read the measured voices."""
    table = json.loads((files(__package__) / TABLE).read_text(encoding="utf-8"))
    return tuple(Voice(name, row["words"]) for name, row in table["voices"].items())


def heard(question: str, rng: Random) -> str:
    """Draw a voice and a transcript of a question that it speaks."""
    return rng.choice(voices()).hear(question, rng)


def aligned(said: str, transcript: str) -> list[tuple[str, str]]:
    """Align the words of a text with those of its transcript, in lower case.

    Returns:
        Each word of the text with what was heard: the word itself, others, or an empty text.
        Words that were heard in addition belong to the word before them.
    """
    one, other = WORD.findall(said.lower()), WORD.findall(transcript.lower())
    pairs: list[tuple[str, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "insert" and pairs:
            word, before = pairs[-1]
            pairs[-1] = (word, " ".join([before, *other[c:d]]).strip())
            continue
        for at, word in enumerate(one[a:b]):
            last = at == b - a - 1
            pairs.append((word, " ".join(other[c + at : d if last else min(d, c + at + 1)])))
    return pairs


def counted(pairs: list[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Count what each word was heard as; words that were always right are left out."""
    counts: dict[str, Counter[str]] = {}
    for word, found in pairs:
        counts.setdefault(word, Counter())[found] += 1
    return {
        word: dict(found.most_common())
        for word, found in sorted(counts.items())
        if set(found) != {word}
    }
