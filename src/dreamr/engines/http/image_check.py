"""Check how a server takes images: with each request, or once and then by an id.

A server that ignores an image it does not have would answer wrongly without an error. So images are
omitted only if the server refuses an unknown id, and counts the same prompt with and without the
data of a known one.
"""

from __future__ import annotations

import io
import secrets
from base64 import b64encode
from typing import Any

import PIL.Image

from dreamr.engines.http.client import Client
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.image_files import ImageLimits
from dreamr.engines.http.image_parts import ImageRoute
from dreamr.engines.http.image_sender import ImageSender
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import ServerInfo
from dreamr.errors import EngineError, EngineLost, Unsupported

_SIDE = 64  # pixels
_QUESTION = {"type": "text", "text": "What is it?"}


def open_image_sender(client: Client, options: HttpOptions, info: ServerInfo) -> ImageSender:
    """Return what puts images into the requests to a probed server.

    Args:
        client: Client of the server.
        options: Options of the connection.
        info: Results of probing the server.
    """

    async def check() -> ImageRoute:
        if info.server.image_ids != "uuid":
            return info.server.image_ids or "data"
        return await find_image_route(client, f"{options.base}/chat/completions", info.model)

    return ImageSender(ImageLimits(options.image_pixels, info.server.webp), check)


async def find_image_route(client: Client, url: str, model: str) -> ImageRoute:
    """Find out whether a server finds an image again by its uuid, as vLLM does.

    Args:
        client: Client of the server.
        url: Address of chat completions.
        model: Name of the model.

    Raises:
        EngineLost: If the server cannot be reached.
    """
    color = tuple(secrets.token_bytes(3))
    uuid, session = secrets.token_hex(16), secrets.token_hex(8)
    known = {"type": "image_url", "image_url": {"url": _data_uri(color)}, "uuid": uuid}

    async def count(part: dict[str, Any]) -> int | None:
        """Return the prompt's tokens, None if they are unknown; -1 if the request is refused."""
        body = {
            "model": model,
            "max_tokens": 1,
            "messages": [{"role": "user", "content": [part, _QUESTION]}],
        }
        try:
            answer = await client.post(url, body, session)
        except EngineLost:
            raise
        except (EngineError, Unsupported):
            return -1
        return Completion.read(answer, url).usage.prompt

    null = {**known, "image_url": None}
    if await count(null) != -1:
        return "data"
    carried = await count(known)
    if carried in (None, -1):  # without counts, an image that is ignored would not be noticed
        return "data"
    return "uuid" if await count(null) == carried else "data"


def _data_uri(color: tuple[int, ...]) -> str:
    file = io.BytesIO()
    PIL.Image.new("RGB", (_SIDE, _SIDE), color).save(file, "PNG")
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
