"""A scripted server that behaves like llama.cpp's: a template that closes thoughts, /completion."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from dreamr.engines import words

Json = dict[str, Any]
_IMAGE_TOKENS = 4
_REASONS = {True: "eos", False: "limit"}


@dataclass
class Llama:
    """A model server that continues a script.

    Attributes:
        script: The whole text that the model writes.
        marker: Text that stands for an image in prompts; a restarted server has another one.
        sees: Whether the model accepts images.
        speculates: Whether tokens after the first one come without log-probabilities.
        labels: Probabilities of an answer's first token.
    """

    script: str
    marker: str = "<__media_1__>"
    sees: bool = True
    speculates: bool = False
    labels: dict[str, float] = field(default_factory=lambda: {"positive": 0.9, "negative": 0.1})

    def __post_init__(self) -> None:
        self.requests: list[tuple[str, Json]] = []
        self.failures: list[Exception] = []

    @property
    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self.handle)

    @property
    def completions(self) -> list[Json]:
        return [body for path, body in self.requests if path == "/completion"]

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        body = json.loads(request.content) if request.content else {}
        self.requests.append((path, body))
        match path:
            case "/v1/models":
                entry = {"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx": 512}}
                return httpx2.Response(200, json={"data": [entry]})
            case "/props":
                found = {"media_marker": self.marker, "modalities": {"vision": self.sees}}
                return httpx2.Response(200, json=found)
            case "/slots":
                return httpx2.Response(200, json=[{"id": 0, "speculative": self.speculates}])
            case "/apply-template":
                return self._templated(body)
            case "/v1/chat/completions":
                return self._chat(body)
            case "/completion":
                return self._completion(body)
        return httpx2.Response(404, json={"error": {"code": 404, "message": "File Not Found"}})

    def _rendered(self, body: Json) -> tuple[str, int]:
        """Return the prompt of a chat and its number of images."""
        text, images, turns = "", 0, body["messages"]
        for place, turn in enumerate(turns):
            parts = turn["content"]
            if isinstance(parts, list):
                images += sum(part["type"] == "image_url" for part in parts)
                parts = "".join(part.get("text", self.marker) for part in parts)
            last = turn["role"] == "assistant" and place == len(turns) - 1
            text += f"<{turn['role']}>{'<think></think>' if last else ''}{parts}"
        return (text if turns[-1]["role"] == "assistant" else f"{text}<assistant><think>"), images

    def _templated(self, body: Json) -> httpx2.Response:
        text, images = self._rendered(body)
        return self._refused(images) or httpx2.Response(200, json={"prompt": text})

    def _refused(self, images: int) -> httpx2.Response | None:
        if self.sees or not images:
            return None
        message = "image input is not supported - hint: you may need to provide the mmproj"
        return httpx2.Response(500, json={"error": {"code": 500, "message": message}})

    def _chat(self, body: Json) -> httpx2.Response:
        text, images = self._rendered(body)
        usage = {"prompt_tokens": self._length(text, images), "completion_tokens": 1}
        choice = {"message": {"content": "x"}, "finish_reason": "length"}
        answer = {"choices": [choice], "usage": usage}
        return self._refused(images) or httpx2.Response(200, json=answer)

    def _length(self, text: str, images: int) -> int:
        return len(list(words(text.replace(self.marker, " ")))) + images * _IMAGE_TOKENS

    def _completion(self, body: Json) -> httpx2.Response:
        if self.failures:
            raise self.failures.pop(0)
        prompt = body["prompt"]
        text = prompt if isinstance(prompt, str) else prompt["prompt_string"]
        images = [] if isinstance(prompt, str) else prompt["multimodal_data"]
        if text.count(self.marker) != len(images):
            message = "Failed to tokenize prompt"
            return httpx2.Response(400, json={"error": {"code": 400, "message": message}})
        written = text.rpartition("<assistant><think>")[2]
        left = list(words(self.script.removeprefix(written)))
        if not self.script.startswith(written):
            left = [next(iter(self.labels))]
        tokens = left[: body["n_predict"]]
        events = list(self._events(body, tokens, self._length(text, len(images))))
        last = {"content": "", "stop": True, "stop_type": _REASONS[len(tokens) == len(left)]}
        if not body.get("stream"):
            whole = {**events[-1], "content": "".join(tokens), **{**last, "content": tokens[0]}}
            return httpx2.Response(200, json=whole)
        end = {**events[-1], **last}
        end.pop("completion_probabilities", None)
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, stream=_Stream([*events, end])
        )

    def _events(self, body: Json, tokens: Sequence[str], length: int) -> Sequence[Json]:
        found = []
        for count, token in enumerate(tokens, 1):
            event: Json = {
                "content": token,
                "stop": False,
                "tokens_predicted": count,
                "tokens_evaluated": length,
            }
            if body.get("n_probs") and (count == 1 or not self.speculates):
                tops = [{"token": t, "logprob": math.log(p)} for t, p in self.labels.items()]
                one = {"token": token, "logprob": -0.5, "top_logprobs": tops[: body["n_probs"]]}
                event["completion_probabilities"] = [one]
            found.append(event)
        return found


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, events: Sequence[Json]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            yield f"data: {json.dumps(event)}\n\n".encode()
