"""What differs between the servers that speak OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """One kind of server.

    owner: what its list of models says in `owned_by`. continuing: fields that make it go on with
    the last assistant's message. streaming: fields of a streamed request. plain: fields that keep a
    model which thinks from thinking. tops: the most probable tokens it may be asked for.
    render: how it shows what its chat template makes of messages; None where it does not.
    abort: the path that ends a request by its `rid`; None where a closed connection does.
    salted: whether a salt keeps requests apart in its prefix cache.
    """

    name: str
    owner: str
    continuing: Json = field(default_factory=dict)
    streaming: Json = field(default_factory=dict)
    plain: Json = field(default_factory=dict)
    tops: int = 20
    render: Literal["tokenize", "apply-template"] | None = None
    abort: str | None = None
    salted: bool = False


_GOING_ON = {"continue_final_message": True, "add_generation_prompt": False}
_PLAIN = {"chat_template_kwargs": {"enable_thinking": False}}
_COUNTED = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
_COUNTED_LAST = {"stream_options": {"include_usage": True}}

VLLM = Server("vLLM", "vllm", _GOING_ON, _COUNTED, _PLAIN, render="tokenize", salted=True)
SGLANG = Server(
    "SGLang", "sglang", {"continue_final_message": True}, _COUNTED_LAST, _PLAIN,
    abort="/abort_request",
)  # fmt: skip
LLAMA_CPP = Server("llama.cpp", "llamacpp", {}, _COUNTED_LAST, _PLAIN, render="apply-template")
OLLAMA = Server("Ollama", "library", {}, _COUNTED_LAST)
# Whoever else: fields that most know, and whose effect is looked at before anything is built on it.
OTHER = Server("an OpenAI-compatible server", "", _GOING_ON, _COUNTED_LAST)

SERVERS = (VLLM, SGLANG, LLAMA_CPP, OLLAMA)


def recognize(model: Json) -> Server:
    """The kind of server that lists a model so."""
    owner = str(model.get("owned_by") or "")
    return next((server for server in SERVERS if server.owner == owner), OTHER)
