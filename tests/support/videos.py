"""Video files, and a scripted server that takes them or does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2

from dreamr.conversation import VideoFile
from support.served import Json, Served

_KINDS = ("video_url", "input_video")
_TOKENS = 10  # of a video


def clip(number: int = 1) -> VideoFile:
    """Return a video file, whose content no scripted server decodes."""
    return VideoFile(bytes([number]) * 300, "video/mp4", "clip.mp4")


@dataclass
class VideoServed(Served):
    """A model server that takes video files, or does not.

    Attributes:
        videos: What it does with a video: the prompt gets some tokens of it, the request is
            refused, or the video is ignored.
        images: Whether it takes images and finds them by their uuid; videos then too.
        kept: Videos and images by uuid.
    """

    videos: Literal["watched", "refused", "ignored"] = "watched"
    images: bool = True
    kept: dict[str, Json] = field(default_factory=dict)

    def _answer(self, body: Json) -> httpx2.Response:
        for part in _media(body):
            kind = part["type"]
            if kind in _KINDS and self.videos == "refused":
                return _refused("At most 0 video(s) may be provided in one prompt.")
            if kind == "image_url" and not self.images:
                return _refused("At most 0 image(s) may be provided in one prompt.")
            if (uuid := part.get("uuid")) is None:
                continue
            if part[kind] is None and uuid not in self.kept:
                return _refused("Cache miss, but data is not provided.")
            self.kept[uuid] = part[kind] or self.kept[uuid]
        return super()._answer(body)

    def render(self, body: Json) -> str:
        if "prompt" in body:
            return super().render(body)
        turns = [{**turn, "content": self._shown(turn["content"])} for turn in body["messages"]]
        return super().render({**body, "messages": turns})

    def _shown(self, content: Any) -> str:
        if isinstance(content, str):
            return content
        seen = "<frame> " * (_TOKENS if self.videos == "watched" else 0)
        return " ".join(part.get("text", seen) for part in content)

    @property
    def sent(self) -> list[Json]:
        """Parts of video files in requests, without those of trials."""
        bodies = [body for body in self.chats if "qzuserqz" not in str(body)]
        return [part for body in bodies for part in _media(body) if part["type"] in _KINDS]


def _media(body: Json) -> Iterator[Json]:
    for turn in body.get("messages", ()):
        if isinstance(turn["content"], list):
            yield from (part for part in turn["content"] if part["type"] != "text")


def _refused(message: str) -> httpx2.Response:
    return httpx2.Response(400, json={"error": {"message": message}})
