"""Parse responses: text, token counts and probabilities of words."""

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
    """Turns the events of one streamed response into chunks.

    Servers that parse reasoning send it in a separate field, without the tags that the model wrote.
    The tags are restored, so that the text can be continued.

    Attributes:
        opened: Whether the text before this response ends inside a think tag.
        echo: Text that the server repeats before its continuation, and that is removed.
        text: Text so far.
        tokens: Number of tokens so far. Exact once the server has reported its usage, which may be
            at the end.
        prompt: Number of prompt tokens, None until the server has reported it.
        finish: Finish reason, None until the response has ended.
    """

    opened: bool = False
    echo: str = ""
    text: str = ""
    tokens: int = 0
    prompt: int | None = None
    finish: Literal["stop", "length"] | None = None
    _thinking: bool = False
    _reported: bool = False
    _pending: tuple[float, ...] = ()  # log-probabilities of tokens whose text has not arrived

    def push(self, event: Json) -> Chunk | None:
        """Return the chunk of an event, None if it has no text and no tokens.

        Raises:
            EngineError: If the server ended the response for a reason other than stop or length.
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
        """Remove the echo from the content."""
        if not (self.echo and content):
            return content
        if content.startswith(self.echo):
            content, self.echo = content[len(self.echo) :], ""
            return content
        if self.echo.startswith(content):
            self.echo = self.echo[len(content) :]
            return ""
        raise EngineError(
            "the server repeats the prefix with changes, so its text cannot be continued: use "
            "another server"
        )

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
            raise EngineError(f"the server ended the response early: {reason}")
        self.finish = _ENDS[reason]

    def _count(self, usage: Json | None, *, wrote: bool) -> int:
        """Return the number of new tokens: as reported, otherwise one per piece of text."""
        reported = (usage or {}).get("completion_tokens")
        self.prompt = (usage or {}).get("prompt_tokens", self.prompt)
        if isinstance(reported, int):
            self._reported = True
            return max(0, reported - self.tokens)
        return int(wrote and not self._reported)


def _chosen(logprobs: Json | None) -> tuple[float, ...]:
    """Return the log-probabilities of the tokens of a piece."""
    if not logprobs:
        return ()
    if logprobs.get("content"):
        return tuple(token["logprob"] for token in logprobs["content"])
    return tuple(value for value in logprobs.get("token_logprobs") or () if value is not None)


def top_words(answer: Json) -> dict[str, float]:
    """Return the probabilities of the first token's most likely texts; empty if unknown."""
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
    for text, logprob in pairs:  # several tokens can have the same text
        found[text] = found.get(text, 0.0) + math.exp(min(0.0, logprob))
    return found


def masses(words: Mapping[str, float], labels: Iterable[Iterable[str]]) -> list[float]:
    """Return the probability that an answer begins with each label.

    A token counts for a label if it is one of the label's spellings or a beginning of one. A token
    that could begin several labels counts for none.

    Args:
        words: Probabilities of the first token, by its text.
        labels: Spellings of each label.
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
