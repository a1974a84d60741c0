"""Check how a server takes images and sounds: with each request, or once and then by an id.

A server that ignores a file it does not have would answer wrongly without an error. So files of a
kind are omitted only if the server refuses an unknown id, and counts the same prompt with and
without the data of a known one.
"""

from __future__ import annotations

import io
import secrets
import wave
from base64 import b64encode
from typing import Any, Literal

import PIL.Image

from dreamr.engines.http.client import Client
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.media_files import ImageLimits
from dreamr.engines.http.media_parts import MediaKind, MediaRoute
from dreamr.engines.http.media_sender import MediaSender
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.http.retries import is_busy
from dreamr.errors import EngineError, EngineLost, Unsupported

_SIDE = 64  # pixels
_RATE, _SAMPLES = 16_000, 8000  # of half a second of sound
_QUESTION = {"type": "text", "text": "What is it?"}


def open_media_sender(client: Client, options: HttpOptions, info: ServerInfo) -> MediaSender:
    """Return what puts images and sounds into the requests to a probed server.

    Args:
        client: Client of the server.
        options: Options of the connection.
        info: Results of probing the server.
    """

    async def check(kind: MediaKind) -> MediaRoute:
        if info.server.image_ids != "uuid":
            return (info.server.image_ids or "data") if kind == "image" else "data"
        # A video file is kept as an image is, and takes longer to try.
        tried: Literal["image", "sound"] = "sound" if kind == "sound" else "image"
        return await find_media_route(client, f"{options.base}/chat/completions", info.model, tried)

    return MediaSender(ImageLimits(options.image_pixels, info.server.webp), check)


async def find_media_route(
    client: Client, url: str, model: str, kind: Literal["image", "sound"]
) -> MediaRoute:
    """Find out whether a server finds an image or a sound again by its uuid, as vLLM does.

    Args:
        client: Client of the server.
        url: Address of chat completions.
        model: Name of the model.
        kind: What is tried.

    Raises:
        EngineLost: If the server cannot be reached.
        EngineError: If it stays busy.
    """
    session = secrets.token_hex(8)
    known, null = _parts(kind, secrets.token_hex(16))

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
        except (EngineError, Unsupported) as error:
            if is_busy(error):
                raise
            return -1
        return Completion.read(answer, url).usage.prompt

    if await count(null) != -1:
        return "data"
    carried = await count(known)
    if carried in (None, -1):  # without counts, a file that is ignored would not be noticed
        return "data"
    return "uuid" if await count(null) == carried else "data"


def _parts(kind: Literal["image", "sound"], uuid: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content part of an image or a sound that is drawn, and the one without its data.

    They have the forms of `MediaReference.to_json`.
    """
    if kind == "sound":
        known = {"data": _noise(), "format": "wav"}
        part: dict[str, Any] = {"type": "input_audio", "input_audio": known, "uuid": uuid}
        return part, {**part, "input_audio": {**known, "data": ""}}
    url = {"url": f"data:image/png;base64,{_color()}"}
    part = {"type": "image_url", "image_url": url, "uuid": uuid}
    return part, {**part, "image_url": None}


def _color() -> str:
    file = io.BytesIO()
    PIL.Image.new("RGB", (_SIDE, _SIDE), tuple(secrets.token_bytes(3))).save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def _noise() -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(_RATE)
        writer.writeframes(secrets.token_bytes(2 * _SAMPLES))
    return b64encode(file.getvalue()).decode()
