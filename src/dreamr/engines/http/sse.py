"""What comes back: pieces of text, how many tokens they are, and probabilities of words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dreamr.engines.protocol import Chunk
from dreamr.errors import EngineError

THINK, THOUGHT = "<think>", "</think>"
_ENDS: Mapping[str, Literal["stop", "length"]] = {
    "stop": "stop", "eos": "stop", "length": "length"
}  # fmt: skip

Json = Mapping[str, Any]


@dataclass(slots=True)
class StreamParser:
    """Makes chunks of the events of one streamed answer.

    Servers that parse reasoning send it in a field of its own, without the tags that the model
    wrote. These are put back, so that the text can be continued.

    opened: whether the text before has left a think tag open. echo: the text that comes back first
    where the server repeats what it continues; no part of what is said. text: all so far.
    tokens: counted so far; exact once usage was told, which may be at the end. prompt: tokens in
    front, once they were told. finish: how it ended, if it has.
    """

    opened: bool = False
    echo: str = ""
    text: str = ""
    tokens: int = 0
    prompt: int | None = None
    finish: Literal["stop", "length"] | None = None
    _thinking: bool = False
    _reported: bool = False
    _pending: tuple[float, ...] = ()  # log-probabilities of tokens whose text is still to come

    def push(self, event: Json) -> Chunk | None:
        """The chunk that an event makes; None where it makes none.

        Raises:
            EngineError: the server ended the answer for a reason of its own.
        """
        choice: Json = next(iter(event.get("choices") or ()), {})
        delta: Json = choice.get("delta") or {}
        thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
        content = self._fresh(delta.get("content") or choice.get("text") or "")
        text = self._tagged(thought, content)
        logprobs = self._pending + _chosen(choice.get("logprobs"))
        self._end(choice.get("finish_reason"))
        tokens = self._count(event.get("usage"), wrote=bool(text))
        self._pending = () if text or tokens else logprobs
        if not (text or tokens):
            return None
        self.text += text
        self.tokens += tokens
        if not logprobs:
            return Chunk(text, tokens)
        return Chunk(text, tokens, None, math.fsum(logprobs), min(logprobs))

    def _fresh(self, content: str) -> str:
        """Without what is an echo in it."""
        if not (self.echo and content):
            return content
        if content.startswith(self.echo):
            content, self.echo = content[len(self.echo) :], ""
            return content
        if self.echo.startswith(content):
            self.echo = self.echo[len(content) :]
            return ""
        raise EngineError("the server repeats what it continues, but not as it was")

    def _tagged(self, thought: str, content: str) -> str:
        if thought and not (self._thinking or self.opened):
            thought = f"{THINK}\n{thought}"
        if content and (thought or self._thinking):
            content = f"\n{THOUGHT}\n\n{content}"
        self._thinking = not content and bool(thought or self._thinking)
        self.opened = self.opened and not content
        return thought + content

    def _end(self, reason: str | None) -> None:
        if reason is None:
            return
        if reason not in _ENDS:
            raise EngineError(f"the server ended the answer: {reason}")
        self.finish = _ENDS[reason]

    def _count(self, usage: Json | None, *, wrote: bool) -> int:
        """New tokens: as the server says, else one a piece of text."""
        reported = (usage or {}).get("completion_tokens")
        self.prompt = (usage or {}).get("prompt_tokens", self.prompt)
        if isinstance(reported, int):
            self._reported = True
            return max(0, reported - self.tokens)
        return int(wrote and not self._reported)


def _chosen(logprobs: Json | None) -> tuple[float, ...]:
    """The log-probabilities of the tokens of a piece."""
    if not logprobs:
        return ()
    if logprobs.get("content"):
        return tuple(token["logprob"] for token in logprobs["content"])
    return tuple(value for value in logprobs.get("token_logprobs") or () if value is not None)


def top_words(answer: Json) -> dict[str, float]:
    """The probabilities of the first token's most likely texts; empty where none are told."""
    choice: Json = next(iter(answer.get("choices") or ()), {})
    logprobs: Json = choice.get("logprobs") or {}
    first = next(iter(logprobs.get("content") or ()), None)
    if first is not None:
        pairs: Iterable[tuple[str, float]] = (
            (top["token"], top["logprob"]) for top in first.get("top_logprobs") or (first,)
        )
    else:
        listed = logprobs.get("top_logprobs") or ()
        pairs = (listed[0] or {}).items() if listed else ()
    found: dict[str, float] = {}
    for text, logprob in pairs:  # a text may come from several tokens
        found[text] = found.get(text, 0.0) + math.exp(min(0.0, logprob))
    return found


def masses(words: Mapping[str, float], labels: Iterable[Iterable[str]]) -> list[float]:
    """The probability that an answer begins with each label, given by its spellings.

    A token counts for a label whose spelling it begins or is, and for none where it could begin
    several labels.
    """
    spelled = [tuple(spellings) for spellings in labels]
    found = [0.0] * len(spelled)
    for text, probability in words.items():
        if not text.strip():
            continue
        fits = [
            place
            for place, spellings in enumerate(spelled)
            if any(spelling.startswith(text) for spelling in spellings)
        ]
        if len(fits) == 1:
            found[fits[0]] += probability
    return [min(1.0, mass) for mass in found]
