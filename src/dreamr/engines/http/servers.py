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
        special: Fields of a streamed request whose text has the special tokens that are written.
        tops: Maximum number of most probable tokens that a request may ask for.
        render: Endpoint that returns rendered prompts; None if there is none.
        abort: Path that aborts a request by its `rid`; None if closing the connection aborts it.
        salted: Whether requests can be separated in the prefix cache by a salt.
        prioritized: Whether requests may have a priority.
        image_ids: Field by which requests name an image. 'uuid': of the content part, also of a
            sound, checked before it is used. 'content_hash': of the image's address. None: there
            is none.
        audio_urls: Whether sounds are content parts of the type `audio_url`, not `input_audio`.
        video_part: Type of the content part of a video file; empty if it takes none.
        webp: Whether images in the format WebP are read.
        sampling: Names of the fields of sampling parameters; those that are missing, the server
            does not take.
        neutral: Fields that switch off the defaults of sampling that a server may have, such as
            those of a model's generation_config.json.
        penalizing: Fields of a request with penalties.
    """

    name: str
    owner: str
    continuing: Json = field(default_factory=dict)
    streaming: Json = field(default_factory=dict)
    plain: Json = field(default_factory=dict)
    special: Json = field(default_factory=dict)
    tops: int = 20
    render: Literal["tokenize", "apply-template"] | None = None
    abort: str | None = None
    salted: bool = False
    prioritized: bool = False
    image_ids: Literal["uuid", "content_hash"] | None = None
    audio_urls: bool = False
    video_part: Literal["video_url", "input_video", ""] = "video_url"
    webp: bool = False
    sampling: Mapping[str, str] = field(default_factory=dict)
    neutral: Json = field(default_factory=dict)
    penalizing: Json = field(default_factory=dict)


_GOING_ON = {"continue_final_message": True, "add_generation_prompt": False}
_PLAIN = {"chat_template_kwargs": {"enable_thinking": False}}
_SPECIAL = {"skip_special_tokens": False}
_COUNTED = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
_COUNTED_LAST = {"stream_options": {"include_usage": True}}

# Sampling parameters, by the names of their fields: those of OpenAI, and those of vLLM.
_PENALTIES = {name: name for name in ("presence_penalty", "frequency_penalty")}
_OPENAI = {**_PENALTIES, "logit_bias": "logit_bias"}
_FULL = {**_OPENAI, **{name: name for name in ("top_k", "min_p", "repetition_penalty")}}
_UNPENALIZED = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
_NEUTRAL = {**_UNPENALIZED, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}

VLLM = Server(
    "vLLM", "vllm", _GOING_ON, _COUNTED, _PLAIN, _SPECIAL, render="tokenize", salted=True,
    prioritized=True, image_ids="uuid", webp=True, sampling=_FULL, neutral=_NEUTRAL,
)  # fmt: skip
SGLANG = Server(
    "SGLang", "sglang", {"continue_final_message": True}, _COUNTED_LAST, _PLAIN, _SPECIAL,
    render="tokenize", abort="/abort_request", image_ids="content_hash", audio_urls=True,
    webp=True, sampling=_FULL, neutral={**_NEUTRAL, "top_k": -1},
)  # fmt: skip
LLAMA_CPP = Server(
    "llama.cpp", "llamacpp", {}, _COUNTED_LAST, _PLAIN, render="apply-template",
    video_part="input_video",
    sampling={**_FULL, "repetition_penalty": "repeat_penalty"},
    neutral={**_UNPENALIZED, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
    penalizing={"repeat_last_n": -1},  # the whole text, not its last 64 tokens
)  # fmt: skip
OLLAMA = Server("Ollama", "library", {}, _COUNTED_LAST, video_part="", sampling=_PENALTIES)
# Fields that most servers support; the probe checks their effect.
OTHER = Server("an OpenAI-compatible server", "", _GOING_ON, _COUNTED_LAST, sampling=_OPENAI)

SERVERS = (VLLM, SGLANG, LLAMA_CPP, OLLAMA)


def recognize(owner: str) -> Server:
    """Return the kind of server whose models have this `owned_by`, `OTHER` if unknown."""
    return next((server for server in SERVERS if server.owner == owner), OTHER)
