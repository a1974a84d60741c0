"""Read the events of a streamed response: text, token counts, log-probabilities and its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from dreamr.engines.http.completions import Completion, Usage
from dreamr.engines.http.events import DONE
from dreamr.engines.http.fields import Characters
from dreamr.engines.http.finish_reasons import read_finish
from dreamr.engines.http.logprobs import chosen_logprobs, first_entropy
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.http.routes import Route
from dreamr.engines.protocol import Chunk
from dreamr.errors import EngineError
from dreamr.steps import THINK, THOUGHT, Finish, ends_inside


class EndSign(IntEnum):
    """How clearly a response says that it is complete."""

    NONE = 0
    CLOSED = 1  # [DONE] or a usage report: proxies also send these after an upstream failure
    REASON = 2  # a finish reason


@dataclass(slots=True)
class StreamParser:
    """Turns the events of one streamed response into chunks.

    Servers that parse reasoning send it in a separate field, without the tags that the model wrote.
    The tags are restored, so that the text can be continued.

    Attributes:
        opened: Whether the text before this response ends inside a thought.
        outside: Whether there is text before this response and it ends outside a thought. Servers
            that do not look there send its continuation as reasoning, which then gets no tag.
        parses: Whether the server is known to parse reasoning.
        entropies: Whether chunks get entropies.
        echo: Text that the server repeats before its continuation, and that is removed.
        trimmed: White space at the end of the text before this response that the server has not
            seen. The model begins with it, and it is removed.
        tags: Text before and after a thought.
        url: Address of the server, for messages.
        read: Reads the fields of an event.
        text: Text so far.
        tokens: Number of tokens so far. Exact once the server has reported its usage, which may be
            at the end.
        prompt: Number of prompt tokens, None until the server has reported it.
        finish: Finish reason, None until the response has ended.
        unknown: Whether a value was not a log-probability.
    """

    opened: bool = False
    outside: bool = False
    parses: bool = False
    entropies: bool = False
    echo: str = ""
    trimmed: str = ""
    tags: tuple[str, str] = (f"{THINK}\n", f"\n{THOUGHT}\n\n")
    url: str = "the server"
    read: Callable[[object, str], Completion] = Completion.read
    text: str = ""
    tokens: int = 0
    prompt: int | None = None
    finish: Finish | None = None
    unknown: bool = False
    _thinking: bool = False
    _reported: bool = False
    _choices: int = 0  # events that had a choice
    _plain: bool = False  # whether a piece of text came without a finish reason
    _news: bool = False  # whether the finish reason is more than a habit
    _whole: bool = False
    _closed: bool = False
    _unreliable: bool = False  # whether text followed a finish reason
    _characters: Characters = field(default_factory=Characters)
    _said: str = ""  # content of all pieces
    _message: str = ""  # the last content that came as a message
    _pending: tuple[float | None, ...] = ()  # of tokens whose text has not arrived
    _entropy: float | None = None  # at the first token that is in no chunk yet

    @classmethod
    def after(
        cls, before: str, route: Route, info: ServerInfo, *, parses: bool, url: str
    ) -> StreamParser:
        """Return the parser of a response that continues a text.

        Args:
            before: The assistant's text so far.
            route: Route of the request.
            info: What is known of the server.
            parses: Whether the server has sent parsed reasoning.
            url: Address of the server, for messages.
        """
        inside = ends_inside(before, opened=route.opens)
        return cls(
            opened=inside,
            outside=bool(before.strip()) and not inside,
            parses=parses,
            echo=before if info.echoes else "",
            trimmed=before[len(before.rstrip()) :] if route.trims else "",
            tags=info.tags,
            url=url,
        )

    @property
    def counted(self) -> bool:
        """Whether the server has reported the number of tokens."""
        return self._reported

    @property
    def empty(self) -> bool:
        """Whether nothing of a response has arrived."""
        return not (self._choices or self._closed)

    @property
    def end_sign(self) -> EndSign:
        """How clearly the response says that it is complete.

        Some servers send a reason in every event. A reason counts if an earlier piece had none, or
        if the response is closed after it.
        """
        if self.finish is not None and (self._closed or self._whole or self._news):
            return EndSign.REASON
        return EndSign.CLOSED if self._closed else EndSign.NONE

    def push(self, event: object) -> Chunk | None:
        """Return the chunk of an event, None if it has no text and no tokens.

        Raises:
            TransientError: If the server failed and the request should be sent again.
            EngineError: If the event cannot be read, or if a content filter ended the response.
        """
        if event == DONE:
            self._closed = True
            return None
        read = self.read(event, self.url)
        content = self._fresh(self._piece(read))
        thought = self._behind_trimmed(read.thought)
        text = self._characters.add(self._tagged(thought, content))
        if self.entropies and not self._pending:
            self._entropy = first_entropy(read.logprobs)
        logprobs = self._pending + chosen_logprobs(read.logprobs)
        self._end(read, text)
        tokens = self._count(read.usage, wrote=bool(text))
        self._pending = () if text or tokens else logprobs
        if not (text or tokens):
            return None
        self.text += text
        self.tokens += tokens
        return self._chunk(text, tokens, logprobs)

    def _chunk(self, text: str, tokens: int, logprobs: tuple[float | None, ...]) -> Chunk:
        known = [value for value in logprobs if value is not None]
        if len(known) < len(logprobs):
            self.unknown = True
            return Chunk(text, tokens)
        if not known:
            return Chunk(text, tokens)
        return Chunk(text, tokens, None, math.fsum(known), min(known), self._entropy)

    def _piece(self, read: Completion) -> str:
        """Return what the content of an event adds.

        Raises:
            EngineError: If the event repeats earlier text.
        """
        text = read.text
        if read.whole and text:
            if self._said and not self._message:  # the whole text after its pieces
                if not text.startswith(self._said):
                    raise EngineError(f"{self.url} sent its answer twice, with changes")
                text = text[len(self._said) :]
            elif self._message.strip() and text != self._message:
                if text.startswith(self._message):
                    raise EngineError(f"{self.url} repeats all of its text in each event")
                self._message = text
            else:
                self._message = text
        self._said += text
        return text

    def _fresh(self, content: str) -> str:
        """Remove the echo from the content."""
        if not (self.echo and content):
            return self._behind_trimmed(content)
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

    def _behind_trimmed(self, text: str) -> str:
        """Remove white space that the text before this response has already."""
        while text and self.trimmed:
            if text[0] != self.trimmed[0]:
                self.trimmed = ""
                break
            text, self.trimmed = text[1:], self.trimmed[1:]
        return text

    def _tagged(self, thought: str, content: str) -> str:
        self.parses = self.parses or bool(thought)
        if thought and not (self._thinking or self.opened or self.outside):
            thought = self.tags[0] + thought
        if content and (thought or self._thinking or (self.opened and self.parses)):
            content = self.tags[1] + content
        self._thinking = not content and bool(thought or self._thinking)
        self.opened = self.opened and not content
        return thought + content

    def _end(self, read: Completion, text: str) -> None:
        """Take note of signs of an end of the response."""
        if self.finish is not None and text:
            self.finish, self._unreliable = None, True
        if read.chosen:
            self._choices += 1
            self._whole, self._closed = read.whole, False
        elif self._choices and read.usage.completion is not None:
            self._closed = True
        finish = read_finish(read.reason)
        if finish is not None and self._unreliable:
            self._closed = True
        elif finish is not None:
            self.finish = finish
            self._news = self._plain or (not text and self._choices > 1)
        self._plain = self._plain or (bool(text) and finish is None)

    def _count(self, usage: Usage, *, wrote: bool) -> int:
        """Return the number of new tokens: as reported, otherwise one per piece of text."""
        if usage.prompt is not None:
            self.prompt = usage.prompt
        if usage.completion is not None:
            self._reported = True
            return max(0, usage.completion - self.tokens)
        return int(wrote and not self._reported)
