"""Parse streamed responses: text, token counts and log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dreamr.engines.http.responses import Json, chosen_logprobs
from dreamr.engines.protocol import Chunk
from dreamr.errors import EngineError

THINK, THOUGHT = "<think>", "</think>"
_ENDS: Mapping[str, Literal["stop", "length"]] = {
    "stop": "stop", "eos": "stop", "length": "length"
}  # fmt: skip


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
        logprobs = self._pending + chosen_logprobs(choice.get("logprobs"))
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
