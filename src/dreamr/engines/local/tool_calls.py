"""Calls of tools in the text of a model: JSON between the tags of Hermes, Qwen and others."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from dreamr.answers import AnswerForm, AnswerFormat, CallDelta
from dreamr.conversation import Conversation

CALL, CALLED = "<tool_call>", "</tool_call>"
_MOST_CALLS = 64  # of an answer that must consist of calls


def writes_calls(template: str) -> bool:
    """Return whether a chat template shows tools, and calls as JSON between the tags."""
    return "tools" in template and CALL in template and "<function=" not in template


@dataclass(frozen=True, slots=True)
class CallChoice:
    """The calls that an answer may consist of.

    Attributes:
        tools: Name of each tool, and the JSON Schema of its arguments as text.
        most: Largest number of calls.
    """

    tools: tuple[tuple[str, str], ...]
    most: int

    @classmethod
    def of(cls, conversation: Conversation, form: AnswerForm) -> CallChoice:
        """Return the calls that a form allows."""
        tools = (tool for tool in conversation.tools if form.tool in (None, tool.name))
        named = tuple((tool.name, tool.parameters) for tool in tools)
        return cls(named, _MOST_CALLS if form.parallel_calls else 1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an answer must keep to: a format, calls, or one of both.

    Attributes:
        format: Format of the text; None if there may be no text.
        calls: Calls that the answer may consist of; None if it may not.
    """

    format: AnswerFormat | None
    calls: CallChoice | None = None


class CallParser:
    """Splits a text that comes in pieces into text and calls.

    Args:
        most: Largest number of calls. What follows the last one is dropped.
    """

    def __init__(self, most: int | None = None) -> None:
        self._held = ""
        self._inside = False
        self._calls = 0
        self._most = most

    @property
    def complete(self) -> bool:
        """Whether the answer has as many calls as it may have."""
        return self._calls == self._most

    def push(self, text: str, *, last: bool = False) -> tuple[str, tuple[CallDelta, ...]]:
        """Add a piece, and return the text and the calls that it completes.

        What stands between the tags without being a call is text. So is a call that is cut.

        Args:
            text: The piece.
            last: Whether it is the last one.
        """
        self._held += text
        said: list[str] = []
        calls: list[CallDelta] = []
        while True:
            before, found, after = self._held.partition(CALLED if self._inside else CALL)
            if not found:
                break
            self._held = after
            if not self._inside:
                said.append(self._between(before))
            elif (call := self._call(before)) is not None:
                calls.append(call)
                if self.complete:
                    return "".join(said), tuple(calls)
            else:
                said.append(f"{CALL}{before}{CALLED}")
            self._inside = not self._inside
        if last:
            rest = f"{CALL}{self._held}" if self._inside else self._between(self._held)
            return "".join([*said, rest]), tuple(calls)
        if not self._inside:
            sent = len(self._held) - _overlap(self._held, CALL)
            said.append(self._between(self._held[:sent]))
            self._held = self._held[sent:]
        return "".join(said), tuple(calls)

    def _between(self, text: str) -> str:
        """Return text outside of calls, without the white space after a call."""
        return "" if self._calls and not text.strip() else text

    def _call(self, text: str) -> CallDelta | None:
        try:
            match json.loads(text):
                case {"name": str(name), **more}:
                    given = more.get("arguments", more.get("parameters", {}))
                case _:
                    return None
        except (ValueError, RecursionError):
            return None
        arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        number, self._calls = self._calls, self._calls + 1
        return CallDelta(number, arguments, f"call_{secrets.token_hex(12)}", name)


def _overlap(text: str, tag: str) -> int:
    """Return the length of the longest end of a text with which a tag begins."""
    return max(size for size in range(min(len(text), len(tag)) + 1) if text.endswith(tag[:size]))
