"""A scripted server that behaves like SGLang 0.5, with its own endpoints and its chat.

Its tokens are words. A template opens a thought, drops those of earlier turns and, in chat, appends
a continued text to the opened turn, as SGLang does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2

Json = dict[str, Any]
_IMAGE = "<image>"
_IMAGE_TOKENS = 4
_SPECIAL = ("<bos>", "<user>", "<assistant>", "<think>", "</think>", _IMAGE)
_TOKEN = re.compile("|".join(_SPECIAL) + r"|\s*[^\s<]+|\s+|<")


def pieces(text: str) -> list[str]:
    """Return the tokens of a text."""
    return _TOKEN.findall(text)


@dataclass
class Sglang:
    """A model server that continues a script.

    Attributes:
        script: The whole text that the model writes.
        labels: Probabilities of an answer's first token.
        template: What chat does with a continued text. "appends": SGLang's own way. "closes": as a
            server whose template closes a thought in front of it.
        sees: Whether the model accepts images.
        begins: Whether the tokenizer puts a token in front of texts, as the template does.
        incremental: Whether events of /generate carry only what is new.
        waits: Number of tokens after which streams wait until they are aborted; None: never.
        tops: Largest number of most likely tokens that are reported.
    """

    script: str
    labels: dict[str, float] = field(default_factory=lambda: {"positive": 0.9, "negative": 0.1})
    template: str = "appends"
    sees: bool = True
    begins: bool = False
    incremental: bool = False
    waits: int | None = None
    tops: int = 20

    def __post_init__(self) -> None:
        self.requests: list[tuple[str, Json]] = []
        self.running: dict[str, anyio.Event] = {}  # streams, by request; set when aborted
        self._vocabulary: list[str] = list(_SPECIAL)

    @property
    def chats(self) -> list[Json]:
        """Bodies of the requests that write."""
        paths = ("/v1/chat/completions", "/generate")
        return [body for path, body in self.requests if path in paths]

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        body = json.loads(request.content) if request.content else {}
        self.requests.append((path, body))
        match path:
            case "/v1/models":
                entry = {"id": "tiny", "owned_by": "sglang", "max_model_len": 512}
                return httpx2.Response(200, json={"object": "list", "data": [entry]})
            case "/tokenize":
                tokens = [self._id(token) for token in self._prompt(body)]
                return httpx2.Response(200, json={"tokens": tokens, "count": len(tokens)})
            case "/detokenize":
                known = [self._vocabulary[number] for number in body["tokens"]]
                hides = body.get("skip_special_tokens", True)
                shown = [token for token in known if not (hides and token in _SPECIAL)]
                return httpx2.Response(200, json={"text": "".join(shown)})
            case "/abort_request":
                self.running.pop(body["rid"], anyio.Event()).set()
                return httpx2.Response(200)
            case "/v1/chat/completions" | "/generate":
                return self._answer(path, body)
        return httpx2.Response(404, json={"detail": "Not Found"})

    def _id(self, token: str) -> int:
        if token not in self._vocabulary:
            self._vocabulary.append(token)
        return self._vocabulary.index(token)

    def _prompt(self, body: Json) -> list[str]:
        """Tokens of a prompt, with one token for an image, as before the images are expanded."""
        if "messages" in body:
            return pieces(self._rendered(body))
        text = body.get("text", body.get("prompt"))
        first = ["<bos>"] if self.begins and body.get("add_special_tokens", True) else []
        return [*first, *pieces(text)]

    def _rendered(self, body: Json) -> str:
        turns = list(body["messages"])
        prefix = None
        if turns[-1]["role"] == "assistant":
            last = turns.pop()
            if body.get("continue_final_message"):
                prefix = last["content"]
            else:  # SGLang takes it for the user's
                turns.append({"role": "user", "content": last["content"]})
        text = "<bos>" if self.begins else ""
        for turn in turns:
            said = turn["content"] if isinstance(turn["content"], str) else _joined(turn["content"])
            if turn["role"] == "assistant":
                said = said.rpartition("</think>")[2]
            text += f"<{turn['role']}>{said}"
        if prefix is None or self.template == "appends":
            return f"{text}<assistant><think>{prefix or ''}"
        return f"{text}<assistant><think></think>{prefix}"

    def _images(self, body: Json) -> list[str]:
        if "messages" not in body:
            return list(body.get("image_data") or ())
        contents = [turn["content"] for turn in body["messages"]]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]

    def _answer(self, path: str, body: Json) -> httpx2.Response:
        if "input_ids" in body:
            return _refused("input_ids and image_data do not belong together")
        images, prompt = self._images(body), self._prompt(body)
        if images and not self.sees:
            return _refused("tiny is not a multimodal model")
        if prompt.count(_IMAGE) != len(images):
            return _refused(f"{len(images)} images for {prompt.count(_IMAGE)} placeholders")
        length = len(prompt) + (_IMAGE_TOKENS - 1) * len(images)
        own = _Generation if path == "/generate" else _Chat
        answer = own(self, body, prompt, length)
        if not body.get("stream"):
            return httpx2.Response(200, json=answer.whole())
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, stream=_Stream(self, answer)
        )

    def continuation(self, prompt: Sequence[str]) -> list[str]:
        """Tokens that the model writes after a prompt."""
        written = "".join(prompt).rpartition("<assistant><think>")[2]
        if not self.script.startswith(written):
            return [next(iter(self.labels))]
        return pieces(self.script[len(written) :])


@dataclass
class _Reply:
    """What is written in answer to one request."""

    server: Sglang
    body: Json
    prompt: list[str]
    length: int

    def __post_init__(self) -> None:
        fields = self.body.get("sampling_params", self.body)
        most = fields.get("max_new_tokens", fields.get("max_tokens", 128))
        left = self.server.continuation(self.prompt)
        self.tokens = left[:most]
        self.reason = "stop" if len(left) <= most else "length"
        self.rid = self.body.get("rid", "?")

    def tops(self) -> list[tuple[str, float]]:
        return [(text, math.log(p)) for text, p in self.server.labels.items()]


class _Chat(_Reply):
    def whole(self) -> Json:
        tops = [{"token": text, "logprob": value} for text, value in self.tops()]
        choice: Json = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(self.tokens)},
            "finish_reason": self.reason,
        }
        if self.body.get("logprobs"):
            choice["logprobs"] = {"content": [{**tops[0], "top_logprobs": tops}]}
        return {"model": "tiny", "choices": [choice], "usage": self.usage()}

    def usage(self) -> Json:
        return {"prompt_tokens": self.length, "completion_tokens": len(self.tokens)}

    async def events(self) -> AsyncIterator[Json]:
        for place, token in enumerate(self.tokens, 1):
            choice: Json = {"index": 0, "delta": {"content": token}, "finish_reason": None}
            if place == len(self.tokens):
                choice["finish_reason"] = self.reason
            yield {"model": "tiny", "choices": [choice]}
        yield {"model": "tiny", "choices": [], "usage": self.usage()}


class _Generation(_Reply):
    def whole(self) -> Json:
        return self.after(0, len(self.tokens))

    async def events(self) -> AsyncIterator[Json]:
        for count in range(1, len(self.tokens) + 1):
            yield self.after(count - 1 if self.server.incremental else 0, count)

    def after(self, first: int, count: int) -> Json:
        """An event with the tokens from one place to another."""
        shown = self.tokens[first:count]
        ended = count == len(self.tokens)
        reason = {"type": self.reason, "matched": 1} if self.reason == "stop" else None
        meta: Json = {
            "id": self.rid,
            "prompt_tokens": self.length,
            "completion_tokens": count,
            "cached_tokens": 0,
            "finish_reason": (reason or {"type": "length", "length": count}) if ended else None,
        }
        if self.body.get("return_logprob"):
            meta |= self.logprobs(shown)
        ids = [self.server._id(token) for token in shown]
        return {"text": "".join(shown), "output_ids": ids, "meta_info": meta}

    def logprobs(self, shown: Sequence[str]) -> Json:
        named = self.body.get("return_text_in_logprobs", False)

        def entry(text: str, value: float) -> list[Any]:
            return [value, self.server._id(text), text if named else None]

        most = min(self.body.get("top_logprobs_num") or 0, self.server.tops)
        asked = self.body.get("token_ids_logprob") or ()
        tops = [entry(text, value) for text, value in self.tops()]
        found: Json = {
            "output_token_logprobs": [entry(token, -0.5) for token in shown],
            "output_top_logprobs": [tops[:most] for _ in shown],
        }
        if asked:
            own = [one for one in tops if one[1] in asked]
            found["output_token_ids_logprobs"] = [own for _ in shown]
        return found


class _Stream(httpx2.AsyncByteStream):
    """The events of one reply, which a closed connection does not end."""

    def __init__(self, server: Sglang, reply: Any) -> None:
        self._server, self._reply = server, reply
        self._aborted = server.running[reply.rid] = anyio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for event in self._reply.events():
            if count == self._server.waits:
                await self._aborted.wait()
                return
            count += 1
            yield f"data: {json.dumps(event)}\n\n".encode()
        self._server.running.pop(self._reply.rid, None)
        yield b"data: [DONE]\n\n"


def _joined(parts: Sequence[Json]) -> str:
    return "".join(_IMAGE if part["type"] == "image_url" else part["text"] for part in parts)


def _refused(message: str) -> httpx2.Response:
    return httpx2.Response(400, json={"error": {"message": message, "code": 400}})
