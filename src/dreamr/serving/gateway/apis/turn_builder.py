"""Turns from items in order: texts, files, thoughts, calls of tools and their results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dreamr.conversation import ToolCall, TurnRole
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.apis.turn_counter import TurnCounter
from dreamr.serving.gateway.content_parts import MessagePart

_BETWEEN = "\n\n"  # messages that are one turn


class TurnBuilder:
    """Joins items to turns: what an assistant thinks, says and calls in a row is one turn.

    Args:
        counter: Limits of the request.
    """

    def __init__(self, counter: TurnCounter) -> None:
        self._counter = counter
        self._done: list[ParsedMessage] = []
        self._parts: list[MessagePart] = []
        self._calls: list[ToolCall] = []
        self._thoughts: list[str] = []

    def add(self, role: TurnRole, parts: Iterable[MessagePart], call_id: str | None = None) -> None:
        """Add what somebody says, or the result of a call.

        Args:
            role: Who.
            parts: What.
            call_id: Id of the call, for its result.
        """
        counted = self._counter.count(parts)
        if role == "assistant":
            self._parts += counted
            return
        self._close()
        if counted or role == "tool":
            self._done.append(ParsedMessage(role, counted, call_id=call_id))

    def call(self, call: ToolCall) -> None:
        """Add a call by the assistant."""
        self._counter.count([call.arguments])
        self._calls.append(call)

    def think(self, thought: str) -> None:
        """Add a thought of the assistant; it belongs to what comes next."""
        self._counter.count([thought])
        if self._parts or self._calls:
            self._close()
        self._thoughts.append(thought)

    def build(self) -> tuple[ParsedMessage, ...]:
        """Return the turns, joined as chat templates need it."""
        self._close()
        return join_turns(self._done)

    def _close(self) -> None:
        if self._parts or self._calls:
            self._done.append(
                ParsedMessage(
                    "assistant",
                    tuple(self._parts),
                    calls=tuple(self._calls),
                    reasoning="".join(self._thoughts),
                )
            )
        self._parts, self._calls, self._thoughts = [], [], []


def join_turns(turns: Iterable[ParsedMessage]) -> tuple[ParsedMessage, ...]:
    """Join turns for chat templates, many of which take one system message at the start only.

    Later system messages, which agents send as reminders, are said by the user. What the system or
    the user says in several messages in a row is one turn.

    Args:
        turns: Turns in order.
    """
    found: list[ParsedMessage] = []
    for turn in turns:
        if turn.role == "system" and any(one.role != "system" for one in found):
            turn = replace(turn, role="user")
        if found and turn.role in ("system", "user") and found[-1].role == turn.role:
            turn = replace(turn, parts=(*found.pop().parts, _BETWEEN, *turn.parts))
        found.append(turn)
    return tuple(found)
