"""Read the events of a streamed answer: text, calls of tools, log-probabilities and its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from dreamr.answers import AnswerPiece, CallDelta, TokenLogprob
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.events import DONE
from dreamr.engines.http.fields import Characters, Field
from dreamr.engines.http.finish_reasons import read_finish
from dreamr.steps import Finish

_UNKNOWN = -9999.0  # what OpenAI reports for tokens that are very unlikely


@dataclass(slots=True)
class AnswerParser:
    """Turns the events of one streamed answer into pieces.

    Attributes:
        url: Address of the server, for messages.
        continued: Whether reasoning was given before the answer. Some servers send a text in the
            field of reasoning then, though it is the answer.
        finish: How the answer ended, None before.
        wrote: Whether a piece had text or calls.
    """

    url: str
    continued: bool
    finish: Finish | None = None
    wrote: bool = False
    _tokens: int = 0
    _reported: bool = False
    _characters: Characters = field(default_factory=Characters)
    # Arguments of the calls that have begun, by their numbers.
    _calls: dict[int, Characters] = field(default_factory=dict)

    def push(self, event: object) -> AnswerPiece | None:
        """Return the piece of an event, None if it adds nothing.

        Raises:
            TransientError: If the server failed and the request should be sent again.
            EngineError: If the event cannot be read, or if a content filter ended the response.
        """
        if event == DONE:
            return None
        read = Completion.read(event, self.url)
        choice = Field(event, self.url).get("choices").first()
        calls = tuple(self._call_deltas(choice.get("delta", "message").get("tool_calls")))
        text = read.thought + read.text if self.continued else read.text
        text, thought = self._characters.add(text), "" if self.continued else read.thought
        self.finish = read_finish(read.reason) or self.finish
        wrote = bool(text or thought or calls)
        self.wrote = self.wrote or bool(text or calls)
        if read.usage.completion is not None:
            self._reported = True
            tokens = max(0, read.usage.completion - self._tokens)
        else:
            tokens = int(wrote and not self._reported)
        self._tokens += tokens
        logprobs = tuple(map(_logprob, read.logprobs.get("content").items()))
        if not (wrote or tokens or logprobs):
            return None
        return AnswerPiece(text, thought, calls, tokens, logprobs)

    def cuts_call(self, most: int) -> bool:
        """Return whether a limit of tokens ended the response after a call had begun.

        vLLM reports the end of a stream with calls as theirs, even if the limit has cut one. Its
        count of tokens tells.

        Args:
            most: The limit.
        """
        return bool(self._calls) and self._reported and self._tokens >= most

    def _call_deltas(self, calls: Field) -> Iterator[CallDelta]:
        for place, call in enumerate(calls.items()):
            number = call.get("index").count()
            number = place if number is None else number
            function = call.get("function")
            arguments = function.get("arguments")
            said = arguments.value
            text = json.dumps(said) if isinstance(said, dict) else arguments.piece()
            if number in self._calls:
                yield CallDelta(number, self._calls[number].add(text))
                continue
            self._calls[number] = Characters()
            name = function.get("name").text()
            call_id = call.get("id").text() or f"call_{uuid4().hex[:24]}"
            yield CallDelta(number, self._calls[number].add(text), call_id, name)


def _logprob(token: Field) -> TokenLogprob:
    raw = token.get("bytes").value
    known = isinstance(raw, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw)
    value = token.get("logprob").value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return TokenLogprob(
        token.get("token").text(),
        min(0.0, max(_UNKNOWN, float(value))) if number else _UNKNOWN,  # type: ignore[arg-type]
        tuple(raw) if known else None,  # type: ignore[arg-type]
        tuple(map(_logprob, token.get("top_logprobs").items())),
    )
