"""A scripted server that keeps images by their uuid, as vLLM does, and counts bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2

from support.served import Json, Served

MISS = "Cache miss for image at index 0 but data is not provided."


@dataclass
class ImageServed(Served):
    """A model server that takes images.

    Attributes:
        ids: What it does with a uuid: it finds images by it, or refuses them without data, or
            ignores images without data.
        replicas: Copies with memories of their own, which take turns.
        refusal: Status and message for the requests with an image for which it returns them.
        as_error: Whether a missing image is reported with status 200 and an error in the body.
        kept: Images of each copy, by uuid.
        sizes: Bytes of all requests.
    """

    ids: Literal["found", "refused", "ignored"] = "found"
    replicas: int = 1
    refusal: Callable[[Json], tuple[int, str] | None] = lambda body: None
    as_error: bool = False
    kept: list[OrderedDict[str, str]] = field(init=False)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kept = [OrderedDict() for _ in range(self.replicas)]
        self._turn = 0

    def lose(self) -> None:
        """Forget all images."""
        for kept in self.kept:
            kept.clear()

    @property
    def asked(self) -> list[Json]:
        """Requests with images, without those of the check."""
        chats = [body for body in self.chats if any(_images(body))]
        return [body for body in chats if "What is it?" not in str(body)]

    @property
    def data(self) -> list[str]:
        """Data of the images that came in, without those of the check."""
        return [part["image_url"]["url"] for body in self.asked for part in _images(body)
                if part["image_url"]]  # fmt: skip

    @property
    def omitted(self) -> int:
        """Number of images that came without data."""
        return sum(not part["image_url"] for body in self.asked for part in _images(body))

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        head = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
        self.sizes.append(len("POST  HTTP/1.1\r\n") + len(request.url.path) + head)
        self.sizes[-1] += len(request.content)
        return await super().handle(request)

    def _answer(self, body: Json) -> httpx2.Response:
        problem = self._look(body)
        if any(_images(body)) and problem is None:
            problem = self.refusal(body)
        if problem is None:
            return super()._answer(body)
        status, message = problem
        error = {"error": {"message": message, "code": status}}
        return httpx2.Response(200 if self.as_error else status, json=error)

    def _look(self, body: Json) -> tuple[int, str] | None:
        """Keep the images of a request; return the problem if one is missing."""
        kept = self.kept[self._turn % self.replicas]
        self._turn += 1
        for part in _images(body):
            uuid, url = part.get("uuid"), part["image_url"]
            if url is not None and uuid is not None:
                assert kept.setdefault(uuid, url["url"]) == url["url"], "one uuid, two images"
                continue
            found = self.ids == "found" and uuid in kept
            if url is None and self.ids != "ignored" and not found:
                return 400, MISS
        return None

    def render(self, body: Json) -> str:
        if "prompt" in body:
            return super().render(body)
        turns = [{**turn, "content": _shown(turn["content"])} for turn in body["messages"]]
        return super().render({**body, "messages": turns})


def _images(body: Json) -> Iterator[Any]:
    for turn in body.get("messages", ()):
        if isinstance(turn["content"], list):
            yield from (part for part in turn["content"] if part["type"] == "image_url")


def _shown(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "<image>") for part in content)
