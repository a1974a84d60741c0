"""Differences between servers with an OpenAI-compatible chat completions endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """One kind of server.

    Attributes:
        name: Name of the server software.
        owner: Its `owned_by` in the list of models.
        continuing: Fields of a request that continues the last assistant message.
        streaming: Fields of a streamed request.
        plain: Fields that keep a reasoning model from thinking.
        tops: Maximum number of most probable tokens that a request may ask for.
        render: Endpoint that returns rendered prompts; None if there is none.
        abort: Path that aborts a request by its `rid`; None if closing the connection aborts it.
        salted: Whether requests can be separated in the prefix cache by a salt.
        image_ids: Field by which requests name an image. 'uuid': of the content part, checked
            before it is used. 'content_hash': of the image's address. None: there is none.
        webp: Whether images in the format WebP are read.
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
    image_ids: Literal["uuid", "content_hash"] | None = None
    webp: bool = False


_GOING_ON = {"continue_final_message": True, "add_generation_prompt": False}
_PLAIN = {"chat_template_kwargs": {"enable_thinking": False}}
_COUNTED = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
_COUNTED_LAST = {"stream_options": {"include_usage": True}}

VLLM = Server(
    "vLLM", "vllm", _GOING_ON, _COUNTED, _PLAIN, render="tokenize", salted=True,
    image_ids="uuid", webp=True,
)  # fmt: skip
SGLANG = Server(
    "SGLang", "sglang", {"continue_final_message": True}, _COUNTED_LAST, _PLAIN,
    render="tokenize", abort="/abort_request", image_ids="content_hash", webp=True,
)  # fmt: skip
LLAMA_CPP = Server("llama.cpp", "llamacpp", {}, _COUNTED_LAST, _PLAIN, render="apply-template")
OLLAMA = Server("Ollama", "library", {}, _COUNTED_LAST)
# Fields that most servers support; the probe checks their effect.
OTHER = Server("an OpenAI-compatible server", "", _GOING_ON, _COUNTED_LAST)

SERVERS = (VLLM, SGLANG, LLAMA_CPP, OLLAMA)


def recognize(owner: str) -> Server:
    """Return the kind of server whose models have this `owned_by`, `OTHER` if unknown."""
    return next((server for server in SERVERS if server.owner == owner), OTHER)
