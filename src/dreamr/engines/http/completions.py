"""Read chat and text completions: whole responses and the events of streams.

This is the only place that reads the fields of a completion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dreamr.engines.http.fields import Field
from dreamr.errors import EngineError

_TEXTS = frozenset({"content", "text", "reasoning", "reasoning_content", "thinking", "response"})
_SEARCHED = 3  # levels below an event without choices that are searched for text


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts that a server reports; None where it does not.

    Attributes:
        prompt: Tokens of the prompt.
        completion: Tokens of the completion so far.
        cached: Tokens of the prompt that came from the prefix cache; None if `prompt` is.
        impossible: Whether more tokens were reported as cached than the prompt has; they do not
            count.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    impossible: bool = False

    @classmethod
    def checked(cls, prompt: int | None, completion: int | None, cached: int | None) -> Usage:
        """Return counts without a number of cached tokens that cannot be true or compared."""
        if cached is None or prompt is None:
            return cls(prompt, completion)
        if cached > prompt:
            return cls(prompt, completion, impossible=True)
        return cls(prompt, completion, cached)


_NO_USAGE = Usage()


@dataclass(slots=True)  # not frozen: one is made for every token
class Completion:
    """One whole response, or one event of a stream.

    Attributes:
        text: Text of the answer.
        thought: Text of the reasoning that the server sends separately, without tags.
        whole: Whether the text came as a message, not as a piece of one.
        reason: Finish reason as the server sent it.
        logprobs: Log-probabilities of the tokens as the server sent them.
        usage: Token counts.
        chosen: Whether there was a choice: events that only report usage have none.
    """

    text: str
    thought: str
    whole: bool
    reason: Field
    logprobs: Field
    usage: Usage
    chosen: bool

    @classmethod
    def read(cls, value: object, url: str) -> Completion:
        """Read a response or an event.

        Raises:
            EngineError: If a field cannot be read, or if text is where it is not expected.
        """
        answer = Field(value, url)
        choice = _choice(answer)
        delta, whole = choice.get("delta", "message"), False
        if delta.value is not None:
            whole = delta.name == "message"
        content = delta.get("content")
        if isinstance(content.value, str):  # nearly every event
            text, thought = content.value, ""
        else:
            parts = list(_parts(content))
            thought = "".join(part for thinks, part in parts if thinks)
            text = "".join(part for thinks, part in parts if not thinks)
        text = text or choice.get("text").piece()
        thought = thought or _thought(delta)
        if not (text or thought):
            _check_misplaced(answer, choice, delta)
        return cls(
            text=text,
            thought=thought,
            whole=whole,
            reason=choice.get("finish_reason", "finishReason"),
            logprobs=choice.get("logprobs"),
            usage=_usage(answer.get("usage")),
            chosen=choice.value is not None,
        )


def _choice(answer: Field) -> Field:
    """Return the first choice; only one is ever requested."""
    choices = answer.get("choices")
    for choice in choices.items():
        if choice.value is not None:
            choice.fields()
            return choice
    return Field(None, answer.url, 0, choices)


def _parts(content: Field) -> Iterator[tuple[bool, str]]:
    """Yield the texts of a message's content, each with whether it is reasoning."""
    if isinstance(content.value, str | None):
        yield False, content.piece()
        return
    for part in [content] if isinstance(content.value, dict) else content.items():
        if isinstance(part.value, str):
            yield False, part.piece()
            continue
        thinks = part.get("type").value in ("thinking", "reasoning")
        inner = part.get("thinking", "reasoning", "text") if thinks else part.get("text")
        if inner.value is None and part.get("type").value in (None, "text", "output_text"):
            raise part.unreadable("text")
        pieces = inner.items() if isinstance(inner.value, list) else (inner,)
        for piece in pieces:
            yield thinks, (piece.get("text") if isinstance(piece.value, dict) else piece).piece()


def _thought(delta: Field) -> str:
    """Return the reasoning that a server sends separately; several have it under two names."""
    found = delta.get("reasoning", "reasoning_content", "thinking")
    if found.value is not None:
        return "".join(text for _, text in _parts(found))
    if "reasoning_details" not in delta.fields():
        return ""
    details = delta.get("reasoning_details").items()
    return "".join(detail.get("text").piece() for detail in details)


def _usage(usage: Field) -> Usage:
    if not isinstance(usage.value, dict):  # the counts are not needed for the text
        return _NO_USAGE
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens").count() if isinstance(details.value, dict) else None
    return Usage.checked(
        usage.get("prompt_tokens").count(), usage.get("completion_tokens").count(), cached
    )


def _check_misplaced(answer: Field, choice: Field, delta: Field) -> None:
    """Check that an event without text has none in fields that are not read.

    Raises:
        EngineError: If it has, as the events of other APIs do; ignoring them would lose text.
    """
    place = choice
    if choice.value is None:
        place = answer
    elif delta.value is not None or "text" in choice.fields():
        return
    name = _misplaced(place.fields(), _SEARCHED)
    if name:
        raise EngineError(
            f"{answer.url} sent text in the field {name}, where chat completions have none: is it "
            "an OpenAI-compatible server?"
        )


def _misplaced(values: dict[str, object], levels: int) -> str:
    """Return the name of a field that holds text of a model, empty if there is none."""
    for name, value in values.items():
        if name in ("logprobs", "annotations", "citations", "usage"):
            continue
        if isinstance(value, str) and value and name in _TEXTS:
            return name
        inner = next(iter(value), None) if isinstance(value, list) else value
        if isinstance(inner, dict) and levels and (found := _misplaced(inner, levels - 1)):
            return f"{name}.{found}"
    return ""
