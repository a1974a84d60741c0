"""Tools that a model may call, and its calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dreamr.conversation.errors import BadConversation

NO_PARAMETERS = '{"type": "object", "properties": {}}'


def strict_json(text: str) -> Any:
    """Return the value of JSON text that can be written again; None if it is not such text.

    Numbers that are not finite and unpaired surrogates can be read from JSON text, and not be
    written to it.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return value


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: Name of the function.
        description: What it does, for the model.
        parameters: JSON Schema of its arguments, as JSON text.
        strict: Whether arguments must follow the schema exactly, where the server can ensure it.
    """

    name: str
    description: str = ""
    parameters: str = NO_PARAMETERS
    strict: bool = False

    def check(self) -> None:
        """Check that the tool has a name and that its parameters are a JSON object.

        Raises:
            BadConversation: If not.
        """
        if not isinstance(self.name, str) or not self.name:
            raise BadConversation("a tool has no name: give each tool the name of its function")
        schema = strict_json(self.parameters)
        if schema is None:
            raise BadConversation(
                f"the parameters of tool {self.name} are not JSON text: pass a JSON Schema"
            )
        if not isinstance(schema, dict):
            raise BadConversation(
                f"the parameters of tool {self.name} are not an object: pass a JSON Schema"
            )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by the model.

    Attributes:
        id: Id of the call, to which the turn with its result refers.
        name: Name of the function.
        arguments: Its arguments, as JSON text in the words of the model: maybe not valid JSON.
    """

    id: str
    name: str
    arguments: str
