"""Images in the bodies of requests.

A body is built with references to images and sounds. When it is sent, the JSON of each reference is
put in: the file of an image, which is encoded once for all requests, or only the id by which the
server finds it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any, Literal, TypeAlias

from dreamr.conversation import Image
from dreamr.engines.http.image_files import ImageFile
from dreamr.engines.http.sounds import SoundReference

# How a server takes images. 'data': in each request. 'content_hash': likewise, with a digest that
# saves it from computing one. 'uuid': once, and then by an id.
ImageRoute: TypeAlias = Literal["data", "content_hash", "uuid"]


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image in a body.

    Attributes:
        image: The image.
        form: What it becomes. 'part': the value of `image_url` in a content part. 'uri': a data
            URI. 'base64': the file in base64.
    """

    image: Image
    form: Literal["part", "uri", "base64"] = "part"

    def to_json(self, file: ImageFile, route: ImageRoute, *, omitted: bool = False) -> bytes:
        """Return the JSON of the value; with an id, also that of the field that follows.

        Args:
            file: File of the image.
            route: How the server takes images.
            omitted: Whether the server has the file already.
        """
        if self.form != "part":
            return b'"%b"' % (file.data_uri if self.form == "uri" else file.base64)
        if omitted:
            return b'null,"uuid":"%b"' % file.uuid
        match route:
            case "data":
                return b'{"url":"%b"}' % file.data_uri
            case "content_hash":
                digest = file.digest.encode()
                return b'{"url":"%b","content_hash":"%b"}' % (file.data_uri, digest)
            case "uuid":
                return b'{"url":"%b"},"uuid":"%b"' % (file.data_uri, file.uuid)


def image_part(image: Image, *, whole: bool = False) -> dict[str, Any]:
    """Return the content part of an image.

    Args:
        image: The image.
        whole: Whether the image is sent in any case, rather than an id where the server has it.
    """
    url = {"url": ImageReference(image, "uri")} if whole else ImageReference(image)
    return {"type": "image_url", "image_url": url}


@dataclass(frozen=True, slots=True)
class Template:
    """The JSON of a body, without its images.

    Attributes:
        pieces: JSON before, between and after the images.
        images: The images, in order.
        text_bytes: Number of bytes without images and sounds.
    """

    pieces: Sequence[bytes]
    images: Sequence[ImageReference]
    text_bytes: int

    @classmethod
    def of(cls, body: Any) -> Template:
        """Serialize a body as compact UTF-8."""
        found: list[ImageReference | SoundReference] = []
        mark = token_hex(16)  # cannot be in a text
        written = json.dumps(
            body,
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
            default=partial(_mark, found, mark),
        )
        first, *others = written.encode().split(f'"{mark}"'.encode())
        pieces, images = [[first]], list[ImageReference]()
        for reference, piece in zip(found, others, strict=True):
            if isinstance(reference, SoundReference):
                pieces[-1] += (reference.to_json(), piece)
            else:
                images.append(reference)
                pieces.append([piece])
        texts = len(first) + sum(map(len, others))
        return cls([b"".join(parts) for parts in pieces], images, texts)

    def filled(self, images: Sequence[bytes]) -> list[bytes]:
        """Return the pieces of the body, with the JSON of the images."""
        found = [self.pieces[0]]
        for image, piece in zip(images, self.pieces[1:], strict=True):
            found += (image, piece)
        return found


def _mark(found: list[ImageReference | SoundReference], mark: str, value: object) -> str:
    """Take note of a reference, and return what marks its place."""
    if not isinstance(value, ImageReference | SoundReference):
        raise TypeError(f"a value of type {type(value).__name__} is not JSON")
    found.append(value)
    return mark
