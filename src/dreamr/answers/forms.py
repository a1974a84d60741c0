"""The form of an answer: calls of tools, a format, log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from dreamr.conversation import BadConversation, Conversation
from dreamr.conversation.parts import check_half
from dreamr.conversation.tools import strict_json

ToolChoice: TypeAlias = Literal["auto", "none", "required"]
MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class JsonObject:
    """The answer is any JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The answer is JSON that follows a schema.

    Attributes:
        schema: The JSON Schema, as JSON text.
        name: Name of the format, for the model.
        strict: Whether the caller demands that the schema is followed exactly.
    """

    schema: str
    name: str = "answer"
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Regex:
    """The answer matches a regular expression."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The answer is one of these texts."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The answer follows a context-free grammar, in the notation of the target's server."""

    rules: str


AnswerFormat: TypeAlias = JsonObject | JsonSchema | Regex | Choice | Grammar


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """The form that the answer of a run must have.

    The form applies to the answer alone, not to the reasoning before it. The tools themselves
    belong to the conversation, because they are part of the prompt.

    Attributes:
        tool_choice: 'auto': the model decides whether to call tools. 'required': it must call at
            least one. 'none': it calls none.
        tool: Name of the tool that must be called; None if the model chooses.
        parallel_calls: Whether an answer may call several tools.
        format: Format of the text; None for any text.
        top_logprobs: Number of alternatives whose log-probabilities are reported for each token of
            the answer; 0 for those of its tokens alone, None for no log-probabilities.

    Raises:
        ValueError: If the tool choice is unknown, or the number of alternatives is not in 0 to 20.
    """

    tool_choice: ToolChoice = "auto"
    tool: str | None = None
    parallel_calls: bool = True
    format: AnswerFormat | None = None
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.tool_choice not in get_args(ToolChoice):
            raise ValueError(
                f"tool_choice must be auto, none or required, not {self.tool_choice!r}"
            )
        if self.top_logprobs is not None and not 0 <= self.top_logprobs <= MAX_TOP_LOGPROBS:
            raise ValueError(
                f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}, not {self.top_logprobs}"
            )

    def calls(self, conversation: Conversation) -> bool:
        """Return whether the answer to a conversation may consist of calls."""
        return bool(conversation.tools) and self.tool_choice != "none"

    def shapes(self, conversation: Conversation) -> bool:
        """Return whether the answer to a conversation needs more than the ordinary text."""
        demanded = self.format is not None or self.top_logprobs is not None
        return demanded or self.calls(conversation)

    def check(self, conversation: Conversation) -> None:
        """Check that the form fits a conversation and can be read.

        Raises:
            BadConversation: If a call is demanded without the tool for it, the schema is not JSON,
                or a text of the format contains an unpaired surrogate.
        """
        names = {tool.name for tool in conversation.tools}
        if self.tool is not None and self.tool not in names:
            raise BadConversation(
                f"the answer must call the tool {self.tool}, which is not among the tools: add it"
            )
        if self.tool_choice == "required" and not names:
            raise BadConversation("the answer must call a tool, but there are none: add tools")
        match self.format:
            case JsonSchema(schema, name):
                check_half(name)
                if not isinstance(strict_json(schema), dict | bool):
                    raise BadConversation(
                        "the schema of the answer is not JSON text: pass a JSON Schema"
                    )
            case Regex(text) | Grammar(text):
                check_half(text)
            case Choice(options):
                check_half(*options)


PLAIN = AnswerForm()
