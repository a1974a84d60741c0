"""A scripted vLLM whose prompts are rendered by the chat template of a family.

Templates are files in `templates/`. An image takes several tokens, which `/tokenize` shows as its
placeholder, repeated.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from support.served import Json, Served

FOLDER = Path(__file__).parent / "templates"
FAMILIES = tuple(sorted(path.stem for path in FOLDER.glob("*.jinja")))
TEXT_ONLY = ("qwen3",)
PLACEHOLDERS = (
    "<|image_pad|>", "<|image|>", "<start_of_image>", "<IMG_CONTEXT>", "[IMG]", "<image>",
)  # fmt: skip
_EACH = 4  # tokens of an image
_TAG = "#end-of-the-last-message# "
_TOKEN = re.compile(r"<\|[^|<>]*\|>|<[^<>\s]*>|\[[A-Z_/]+\]|\s*[^\s<\[]+|\s+|<|\[")


@dataclass
class Templated(Served):
    """A model server of one family.

    Attributes:
        family: Name of the template.
        tokens: Whether prompts can be given as tokens (`--enable-scale-out`).
        lost: How many requests meet a server that has lost the data of an image.
        disabled: Status of a request to an endpoint that the server does not have.
    """

    family: str = "qwen3_vl_instruct"
    tokens: bool = False
    lost: int = 0
    disabled: int = 403
    prompts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        Served.__post_init__(self)
        self.models = (self.family,)
        self._known: list[str] = []

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else {}
        path = request.url.path
        try:
            match path:
                case "/tokenize":
                    text = self._prompt(body)
                    return httpx2.Response(200, json={"tokens": self._ids(text)})
                case "/detokenize":
                    return httpx2.Response(200, json={"prompt": self._text(body["tokens"])})
                case "/v1/chat/completions/render" if self.tokens:
                    return httpx2.Response(200, json=self._rendered(body))
                case "/inference/v1/generate" if self.tokens:
                    return await self._generated(request, body)
                case "/v1/chat/completions" | "/v1/completions":
                    self.prompts.append(self._prompt(body))
        except (jinja2.TemplateError, ValueError) as error:
            return httpx2.Response(400, json={"error": {"message": str(error)}})
        if path.startswith(("/v1/chat/completions/", "/inference")):
            error = {"message": "endpoints are disabled"}
            return httpx2.Response(self.disabled, json={"error": error})
        return await Served.handle(self, request)

    def render(self, body: Json) -> str:
        return self._prompt(body)

    def continuation(self, body: Json) -> str:
        return self.said(body) if self.said is not None else self.script

    def _rendered(self, body: Json) -> Json:
        ids = self._ids(self._prompt({"add_generation_prompt": True, **body}))
        features = None
        if any(isinstance(turn["content"], list) for turn in body["messages"]):
            features = {
                "mm_hashes": {"image": ["abc"]},
                "mm_placeholders": {"image": [{"offset": 0, "length": _EACH}]},
                "kwargs_data": {"image": ["data"]},
                "mm_metadata": {"image": ["data"]},
            }
        return {"token_ids": ids, "features": features}

    async def _generated(self, request: httpx2.Request, body: Json) -> httpx2.Response:
        features = body.get("features")
        if features is not None and "kwargs_data" not in features and self.lost:
            self.lost -= 1
            self.requests.append((request.url.path, body))
            return httpx2.Response(500, json={"error": {"message": "no such item"}})
        sampling = body.pop("sampling_params")
        asked = {**body, **sampling, "prompt": self._text(body["token_ids"])}
        self.prompts.append(asked["prompt"])
        own = httpx2.Request("POST", "http://here/v1/completions", json=asked)
        self.requests.append((request.url.path, body))
        return await Served.handle(self, own)

    def _prompt(self, body: Json) -> str:
        """Return the prompt of a request, with the placeholders of images repeated."""
        text = body["prompt"] if "prompt" in body else self._chat(body)
        if "prompt" in body:
            return str(text)
        for placeholder in PLACEHOLDERS:
            text = text.replace(placeholder, placeholder * _EACH)
        return text

    def _chat(self, body: Json) -> str:
        turns = copy.deepcopy(body["messages"])
        continues = body.get("continue_final_message", False)
        if continues:
            _tag(turns[-1])
        for turn in turns:
            if isinstance(turn["content"], list):
                turn["content"] = [_shown(part, self.family) for part in turn["content"]]
        text = _template(self.family).render(
            messages=turns,
            tools=body.get("tools"),
            add_generation_prompt=body.get("add_generation_prompt", not continues),
            bos_token="<bos>",
            eos_token="</s>",
            **body.get("chat_template_kwargs", {}),
        )
        if not continues:
            return str(text)
        before, found, _ = text.rpartition(_TAG.strip())
        if not found:
            raise ValueError("the final message does not appear in the chat")
        kept = text[len(before) :].startswith(_TAG)
        return before if kept else before.rstrip()

    def _ids(self, text: str) -> list[int]:
        pieces = _TOKEN.findall(text)
        for piece in pieces:
            if piece not in self._known:
                self._known.append(piece)
        return [self._known.index(piece) for piece in pieces]

    def _text(self, ids: list[int]) -> str:
        return "".join(self._known[one] for one in ids)


@cache
def _template(family: str) -> jinja2.Template:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string((FOLDER / f"{family}.jinja").read_text())


def _tag(turn: dict[str, Any]) -> None:
    """Mark the end of the last text of a message."""
    if isinstance(turn["content"], str):
        turn["content"] += _TAG
        return
    last = [part for part in turn["content"] if part["type"] == "text"][-1]
    last["text"] += _TAG


def _shown(part: Json, family: str) -> Json:
    """Return a part of a message as templates see it."""
    if part["type"] == "text":
        return part
    if family in TEXT_ONLY:
        raise ValueError("this is not a multimodal model")
    return {"type": "image"}
