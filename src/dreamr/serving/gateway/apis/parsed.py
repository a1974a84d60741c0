"""A valid request, independent of the API that it came by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dreamr._options import RunOptions
from dreamr.answers import PLAIN, AnswerForm, logprobs_until
from dreamr.conversation import Part, Tool, ToolCall, Turn, TurnRole
from dreamr.serving.gateway.content_parts import MessagePart
from dreamr.trace import Result


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A message of a request before its attachments are read.

    Attributes:
        role: Role of the turn.
        parts: Its parts.
        calls: Calls of tools, of an assistant.
        call_id: Id of the call whose result the message holds.
        reasoning: Thought before the text of an assistant.
    """

    role: TurnRole
    parts: tuple[MessagePart, ...]
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    reasoning: str = ""

    def turn(self, parts: Sequence[Part]) -> Turn:
        """Return the turn with these parts."""
        return Turn(self.role, tuple(parts), self.calls, self.call_id, self.reasoning)


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A valid request.

    Attributes:
        model: Name of the served model.
        turns: Messages with content, in order.
        options: Options of the server with the changes of the request.
        stop: Stop sequences of the answer.
        stream: Whether to stream the answer.
        include_usage: Whether a stream ends with the token usage.
        events: Whether a stream includes all events of the run.
        deadline: Time limit in seconds, waiting included.
        ignored: Fields without effect, reported to the client; the first 20 of them.
        ignored_count: Number of fields without effect.
        tools: Tools that the model may call.
        form: Form of the answer.
        choices: Number of answers.
        recalled: Bytes of earlier turns that are not part of its body.
        more: What the reply of its API needs beyond this.
    """

    model: str
    turns: tuple[ParsedMessage, ...]
    options: RunOptions
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    events: bool
    deadline: float
    ignored: tuple[str, ...]
    ignored_count: int = 0
    tools: tuple[Tool, ...] = ()
    form: AnswerForm = PLAIN
    choices: int = 1
    recalled: int = 0
    more: Any = None

    def until_stop(self, answer: str) -> str:
        """Return an answer up to the first stop sequence.

        As with other reasoning models, a stop sequence ends the answer, not the reasoning.
        """
        found = self.stop_in(answer)
        return answer if found is None else answer[: found[0]]

    def stop_in(self, answer: str) -> tuple[int, str] | None:
        """Return the place of the first stop sequence in an answer, and the sequence."""
        found = ((answer.find(stop), stop) for stop in self.stop)
        return min((one for one in found if one[0] >= 0), default=None)

    def stopped(self, result: Result) -> Result:
        """Return a result as if its run had ended at the first stop sequence of its answer.

        The answer and its log-probabilities are cut there, calls that would come after it are left
        out, and it is complete, even if a limit has ended the run later.
        """
        if (found := self.stop_in(result.answer)) is None:
            return result
        return replace(
            result,
            answer=result.answer[: found[0]],
            calls=(),
            finish="stop",
            answer_logprobs=logprobs_until(found[0], result.answer, result.answer_logprobs),
        )
