"""Log-probabilities in the responses of servers: of chosen tokens, and of a judge call's words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dreamr.engines.http.fields import Field
from dreamr.errors import EngineError

UNKNOWN = (
    "returns log-probabilities that are not finite numbers of at most 0: they count as unknown"
)
_ROUNDING = 1e-4  # log-probabilities of almost certain tokens are rounded to just above 0
_FLOAT32 = 1e-3  # rounding error of a sum of probabilities
_SPACES = str.maketrans("Ġ▁", "  ")  # spaces in vocabularies, which some servers pass on


@dataclass(frozen=True, slots=True)
class TopWords:
    """The most likely texts of a token.

    Attributes:
        known: Their probabilities.
        unknown: Texts whose value is not a log-probability.
        certain: Whether every text was reported as certain, as llama.cpp does for tokens that
            speculative decoding guessed. They count as unknown.
    """

    known: Mapping[str, float] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    certain: bool = False

    @property
    def alternatives(self) -> bool:
        """Whether the server returns more than the token that it chose."""
        return bool(self.known) and len(self.known) + len(self.unknown) > 1

    def masses(self, labels: Iterable[Iterable[str]], *, worst: int) -> list[float]:
        """Return the probability that an answer begins with each label.

        A token counts for a label if it is one of the label's spellings or a beginning of one. A
        token that could begin several labels counts for none. If the probability of a label's token
        is unknown, or there is only one token, all that is left counts for the worst label: nothing
        is accepted because a value is missing.

        Args:
            labels: Spellings of each label.
            worst: Position of the label that speaks against the step most.
        """
        spelled = [tuple(spellings) for spellings in labels]
        found = [0.0] * len(spelled)
        for text, probability in self.known.items():
            if (place := _label(text, spelled)) is not None:
                found[place] += probability
        missing = any(_label(text, spelled) is not None for text in self.unknown)
        if missing or not self.alternatives:
            found[worst] += max(0.0, 1.0 - math.fsum(self.known.values()))
        return [min(1.0, mass) for mass in found]

    def top_is_label(self, labels: Iterable[Iterable[str]]) -> bool | None:
        """Return whether the most likely token is of a label; None if that is unknown."""
        if not self.known or self.unknown:
            return None
        top = max(self.known, key=lambda text: self.known[text])
        return _label(top, [tuple(spellings) for spellings in labels]) is not None


def _label(text: str, spelled: list[tuple[str, ...]]) -> int | None:
    """Return the position of the only label that begins with this token, if there is one."""
    if not text.strip():
        return None
    found = [
        place
        for place, spellings in enumerate(spelled)
        if any(spelling.startswith(text) for spelling in spellings)
    ]
    return found[0] if len(found) == 1 else None


def read_logprob(value: Field) -> float | None:
    """Return a log-probability (nats), None unless it is a finite number that is at most 0."""
    found = value.value
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    # The first comparison also excludes NaN; integers may be too large for a float.
    return min(0.0, float(found)) if -1e300 < found <= _ROUNDING else None


def chosen_logprobs(logprobs: Field) -> tuple[float | None, ...]:
    """Return the log-probabilities of the tokens of a piece, None for those that are unknown."""
    if logprobs.value is None:
        return ()
    try:
        tokens = _tokens(logprobs)
        if tokens or isinstance(logprobs.value, list):
            return tuple(_chosen(token) for token in tokens)
        return tuple(read_logprob(value) for value in logprobs.get("token_logprobs").items())
    except EngineError:  # of another form; the text itself is readable
        return (None,)


def _chosen(token: Field) -> float | None:
    """Return the log-probability of a chosen token, None if it is unknown.

    llama.cpp reports 0 and no alternatives for tokens that speculative decoding guessed.
    """
    value = read_logprob(token.get("logprob"))
    return None if value == 0 and token.get("top_logprobs").value == [] else value


def _tokens(logprobs: Field) -> tuple[Field, ...]:
    """Return the tokens of chat completions; llama.cpp's own form has no object around them."""
    listed = logprobs if isinstance(logprobs.value, list) else logprobs.get("content")
    return tuple(listed.items())


def top_words(logprobs: Field) -> TopWords:
    """Return the most likely texts of the first token.

    Raises:
        EngineError: If a field cannot be read.
    """
    known: dict[str, float] = {}
    unknown = set()
    for text, logprob in _tops(logprobs):  # several tokens can have the same text
        if logprob is None:
            unknown.add(text)
        else:
            known[text] = known.get(text, 0.0) + math.exp(logprob)
    if known and all(probability >= 1 for probability in known.values()):
        return TopWords({}, frozenset({*unknown, *known}), certain=True)
    return TopWords(known, frozenset(unknown))


def _tops(logprobs: Field) -> Iterator[tuple[str, float | None]]:
    tokens = _tokens(logprobs)
    if not tokens:  # text completions
        listed = () if isinstance(logprobs.value, list) else logprobs.get("top_logprobs").items()
        tops = next(iter(listed), Field(None, logprobs.url)).fields()
        for text, value in tops.items():
            yield _spelled(text), read_logprob(Field(value, logprobs.url))
        return
    first = tokens[0]
    for top in list(first.get("top_logprobs").items()) or [first]:
        yield _token(top.get("token")), read_logprob(top.get("logprob"))


def _token(token: Field) -> str:
    """Return the text of a token, which some servers send as a list of bytes."""
    if isinstance(token.value, list):
        try:
            return bytes(token.value).decode("utf-8", "replace")
        except (TypeError, ValueError) as error:
            raise token.unreadable("text") from error
    return _spelled(token.text())


def _spelled(text: str) -> str:
    return text.translate(_SPACES)


def first_entropy(logprobs: Field) -> float | None:
    """Return the entropy (nats) at the first token of a piece; None if it is unknown.

    What the listed tokens leave counts as one more token.
    """
    if logprobs.value is None:
        return None
    try:
        words = top_words(logprobs)
    except EngineError:  # of another form; the text itself is readable
        return None
    if not words.alternatives or words.unknown:
        return None
    rest = 1.0 - math.fsum(words.known.values())
    shares = [*words.known.values(), rest if rest > _FLOAT32 else 0.0]
    return max(0.0, -math.fsum(share * math.log(share) for share in shares if share > 0))
