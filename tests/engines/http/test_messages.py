from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Conversation, Image
from dreamr.engines.http import messages as _messages
from dreamr.engines.http.messages import encode_images, messages


def image(number: int) -> Image:
    return Image(bytes([number]) * 300, 10, 10)


def test_encoded_images_are_kept_up_to_a_number_of_bytes() -> None:
    longest = max(len(_messages._data_uri(image(number))) for number in range(4))
    kept = _messages._Encodings(most=3 * longest)
    first = kept.of(image(0))
    for number in range(1, 3):
        kept.of(image(number))
    assert kept.of(image(0)) is first  # now the latest
    kept.of(image(3))
    assert image(0) in kept
    assert image(1) not in kept
    assert kept.of(image(1)) == _messages._data_uri(image(1))


def test_a_large_image_is_kept_even_if_it_takes_more() -> None:
    kept = _messages._Encodings(most=1)
    assert kept.of(image(0)) is kept.of(image(0))


def test_images_are_encoded_before_a_request_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation.from_prompt("How many?", image(7), image(8))
    anyio.run(encode_images, conversation)
    monkeypatch.setattr(_messages, "_data_uri", None)
    [message] = messages(conversation)
    assert [part["type"] for part in message["content"]] == ["image_url", "image_url", "text"]
