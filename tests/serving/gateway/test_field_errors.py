"""A part of an unknown type is an error that names the types there are, in every API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dreamr.serving.gateway.apis.messages.content import read_content
from dreamr.serving.gateway.apis.responses.items import read_parts as read_items
from dreamr.serving.gateway.content_parts import read_parts
from dreamr.serving.gateway.errors import ApiError

CHAT = "text, image_url, video_url, input_audio or file"


@pytest.mark.parametrize(
    ("read", "part", "message", "param"),
    [
        (
            read_parts,
            {"type": "picture"},
            f'content part "picture" is not supported: use {CHAT}',
            "m.content.0",
        ),
        (read_parts, {}, f"content part null is not supported: use {CHAT}", "m.content.0"),
        (read_parts, 5, "m.content.0 must be an object", "m.content.0"),
        (read_parts, {"type": "text"}, "m.content.0.text is required", "m.content.0.text"),
        (
            read_items,
            {"type": "input_picture"},
            'content part "input_picture" is not supported: use input_text, output_text, '
            "input_image, input_file or input_audio",
            "m.0",
        ),
        (read_items, {"type": "input_text", "text": 5}, "m.0.text must be", "m.0.text"),
        (
            read_content,
            {"type": "picture"},
            'block "picture" is not supported: use text, image, document,',
            "m.0",
        ),
        (
            read_content,
            {"type": "image", "source": {"type": "path"}},
            'the source of a block "image" is not supported: use one of type base64, url, file',
            "m.0.source",
        ),
        (
            read_content,
            {"type": "image", "source": {}},
            'the source of a block "image" is not supported: use one with a type',
            "m.0.source",
        ),
    ],
)
def test_an_unknown_part_names_what_is_known(
    read: Callable[..., Any], part: Any, message: str, param: str
) -> None:
    with pytest.raises(ApiError) as raised:
        list(read([part], "m", 9))
    assert raised.value.message.startswith(message)
    assert raised.value.param == param
