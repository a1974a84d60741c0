"""Tools of OpenAI's responses, offered to the models as functions.

A function of a namespace gets the namespace into its name. A custom tool, whose input is a text,
becomes a function with one argument. Calls are named back for the client.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from dreamr.conversation import Tool
from dreamr.conversation.tools import strict_json
from dreamr.serving.gateway.apis.fields import JsonModel
from dreamr.serving.gateway.errors import bad_request

MAX_TOOLS = 512
_INPUT = "input"  # argument of a custom tool's function


class _Definition(JsonModel):
    syntax: str = ""
    definition: str = ""


class SentTool(JsonModel):
    """A tool of a request."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: _Definition | None = None
    tools: Annotated[list[SentTool], Field(max_length=MAX_TOOLS)] | None = None


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool as the client names it.

    Attributes:
        name: Its name.
        namespace: The namespace that it belongs to.
        custom: Whether its input is a text rather than arguments.
    """

    name: str
    namespace: str | None = None
    custom: bool = False

    @property
    def function(self) -> str:
        """Name of the function that the models see."""
        return f"{self.namespace}__{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of a request.

    Attributes:
        tools: Functions that the models see.
        ignored: Names of tools that are left out, since the vendor's servers run them.
    """

    tools: tuple[Tool, ...] = ()
    ignored: tuple[str, ...] = ()
    _clients: Mapping[str, ClientTool] = field(default_factory=dict)

    @classmethod
    def of(cls, sent: Sequence[SentTool]) -> Toolbox:
        """Read the tools of a request.

        Raises:
            ApiError: If there are too many.
        """
        tools: dict[str, Tool] = {}
        clients: dict[str, ClientTool] = {}
        ignored: list[str] = []
        for place, one, namespace in _flat(sent, "tools"):
            client = ClientTool(one.name, namespace, one.type == "custom")
            if one.type not in ("function", "custom") or client.function in tools:
                ignored.append(f"{place} ({one.type})")
                continue
            clients[client.function] = client
            tools[client.function] = _offered(one, client)
        if len(tools) > MAX_TOOLS:
            raise bad_request(f"the request has more than {MAX_TOOLS} tools", "tools")
        return cls(tuple(tools.values()), tuple(ignored), clients)

    def client_tool(self, function: str) -> ClientTool:
        """Return the tool that a call of a function is for."""
        return self._clients.get(function) or ClientTool(function)


def custom_arguments(text: str) -> str:
    """Return the arguments of a custom tool's function for an input."""
    return json.dumps({_INPUT: text}, ensure_ascii=False)


def custom_input(arguments: str) -> str:
    """Return the input of a custom tool; a model can write what is not the one argument."""
    match strict_json(arguments):
        case {"input": str(text)} | str(text):
            return text
    return arguments


def _flat(sent: Sequence[Any], where: str) -> Iterator[tuple[str, SentTool, str | None]]:
    """Yield the path and value of each tool, those of namespaces apart, with their namespace."""
    for number, one in enumerate(sent):
        place = f"{where}.{number}"
        if one.type != "namespace":
            yield place, one, None
            continue
        for inner, tool in enumerate(one.tools or ()):
            yield f"{place}.tools.{inner}", tool, one.name


def _offered(tool: SentTool, client: ClientTool) -> Tool:
    """Return the function that stands for a tool."""
    if not client.custom:
        parameters = tool.parameters or {"type": "object", "properties": {}}
        schema = json.dumps(parameters, ensure_ascii=False)
        return Tool(client.function, tool.description or "", schema, tool.strict is not False)
    described = [tool.description or ""]
    if tool.format is not None and tool.format.definition:
        described.append(f"The input follows this grammar ({tool.format.syntax}):")
        described.append(tool.format.definition)
    properties = {_INPUT: {"type": "string", "description": "The whole input of the tool."}}
    schema = json.dumps(
        {
            "type": "object",
            "properties": properties,
            "required": [_INPUT],
            "additionalProperties": False,
        }
    )
    return Tool(client.function, "\n\n".join(filter(None, described)), schema, True)
