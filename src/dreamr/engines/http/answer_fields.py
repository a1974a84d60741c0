"""Fields of a request that demand an answer in a form, with OpenAI's names or vLLM's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dreamr.answers import AnswerForm, Choice, Grammar, JsonObject, JsonSchema, Regex
from dreamr.conversation import Conversation, Tool, Turn

Json = dict[str, Any]


def tool_fields(conversation: Conversation) -> Json:
    """Return the fields that show the tools of a conversation without letting them be called.

    Every request of a conversation shows the same tools, so that all share the prefix cache.
    """
    if not conversation.tools:
        return {}
    return {"tools": list(map(_tool, conversation.tools)), "tool_choice": "none"}


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = json.loads(tool.parameters)
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def call_fields(turn: Turn) -> Json:
    """Return the fields of a message about calls of tools and thoughts of earlier turns."""
    fields: Json = {}
    if turn.call_id is not None:
        fields["tool_call_id"] = turn.call_id
    if turn.calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in turn.calls
        ]
    if turn.reasoning:  # servers differ in the name; the chat template decides what is shown
        fields |= {"reasoning": turn.reasoning, "reasoning_content": turn.reasoning}
    return fields


def _arguments(text: str) -> str:
    """Return the arguments of an earlier call; servers refuse what is not a JSON object."""
    try:
        return text if isinstance(json.loads(text), dict) else json.dumps({"value": text})
    except (ValueError, RecursionError):
        return json.dumps({"invalid": text}) if text.strip() else "{}"


def form_fields(form: AnswerForm, conversation: Conversation) -> Json:
    """Return the fields that demand an answer in a form."""
    return dict(_form_fields(form, conversation))


def _form_fields(form: AnswerForm, conversation: Conversation) -> Iterator[tuple[str, Any]]:
    if conversation.tools:
        if form.tool is not None:
            yield "tool_choice", {"type": "function", "function": {"name": form.tool}}
        else:
            yield "tool_choice", form.tool_choice
        if form.calls(conversation) and not form.parallel_calls:
            yield "parallel_tool_calls", False
    if form.top_logprobs is not None:
        yield "logprobs", True
        if form.top_logprobs:
            yield "top_logprobs", form.top_logprobs
    match form.format:
        case JsonObject():
            yield "response_format", {"type": "json_object"}
        case JsonSchema(schema, name, strict):
            described = {"name": name, "schema": json.loads(schema), "strict": strict}
            yield "response_format", {"type": "json_schema", "json_schema": described}
        case Regex(pattern):
            yield "structured_outputs", {"regex": pattern}
        case Choice(options):
            yield "structured_outputs", {"choice": list(options)}
        case Grammar(rules):
            yield "structured_outputs", {"grammar": rules}
