"""Bodies with references to images, and the files that are put in their places."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import Conversation, Image
from dreamr.engines.http import media_files
from dreamr.engines.http.media_files import ImageLimits, MediaFiles
from dreamr.engines.http.media_parts import MediaReference, MediaRoute, Template
from dreamr.engines.http.messages import messages

ANY, SMALL = ImageLimits(), ImageLimits(pixels=4)


def image(number: int) -> Image:
    return Image(bytes([number]) * 300, 10, 10)


FILE = MediaFiles().of(image(1), ANY)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.just(MediaReference(image(1), "base64")),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=9,
)


def plain(value: Any) -> Any:
    """The value with files in the places of references."""
    if isinstance(value, MediaReference):
        return FILE.base64.decode()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_a_body_is_the_json_that_it_would_be_with_the_files_written_into_it(body: Any) -> None:
    template = Template.of(body)
    files = [reference.to_json(FILE, "data") for reference in template.media]
    assert json.loads(b"".join(template.filled(files))) == plain(body)


@pytest.mark.parametrize(
    ("route", "omitted", "expected"),
    [
        ("data", False, {"image_url": {"url": FILE.data_uri.decode()}}),
        (
            "content_hash",
            False,
            {"image_url": {"url": FILE.data_uri.decode(), "content_hash": FILE.digest}},
        ),
        (
            "uuid",
            False,
            {"image_url": {"url": FILE.data_uri.decode()}, "uuid": FILE.uuid.decode()},
        ),
        ("uuid", True, {"image_url": None, "uuid": FILE.uuid.decode()}),
    ],
)
def test_a_content_part_has_the_form_of_the_route(
    route: MediaRoute, omitted: bool, expected: Any
) -> None:
    template = Template.of(messages(Conversation.from_prompt("How many?", image(1))))
    [reference] = template.media
    written = template.filled([reference.to_json(FILE, route, omitted=omitted)])
    [message] = json.loads(b"".join(written))
    text = {"type": "text", "text": "How many?"}
    assert message["content"] == [{"type": "image_url", **expected}, text]


def test_the_latest_files_are_kept_up_to_a_number_of_bytes() -> None:
    longest = max(len(MediaFiles().of(image(number), ANY).base64) for number in range(4))
    kept = MediaFiles(most=3 * longest)
    first = kept.of(image(0), ANY)
    for number in range(1, 3):
        kept.of(image(number), ANY)
    assert kept.of(image(0), ANY) is first  # now the latest
    kept.of(image(3), ANY)
    assert kept.get(image(0), ANY) is first
    assert kept.get(image(1), ANY) is None
    assert kept.of(image(1), ANY) == MediaFiles().of(image(1), ANY)


def test_a_large_file_is_kept_even_if_it_takes_more() -> None:
    kept = MediaFiles(most=1)
    assert kept.of(image(0), ANY) is kept.of(image(0), ANY)


def test_threads_that_need_the_same_file_make_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Image] = []
    make = media_files.as_file

    def counted(one: Image, *more: Any) -> Image:
        made.append(one)
        return make(one, *more)

    monkeypatch.setattr(media_files, "as_file", counted)
    kept = MediaFiles()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: kept.of(image(number % 2), ANY), range(40)))
    assert len(made) == 2
    assert len({id(file) for file in found}) == 2


def test_nothing_is_kept_about_files_that_are_made_or_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = MediaFiles()
    for _ in range(2):
        kept.of(image(0), ANY)

    def fail(*_: Any) -> Image:
        raise OSError("no memory")

    monkeypatch.setattr(media_files, "as_file", fail)
    with pytest.raises(OSError, match="no memory"):
        kept.of(image(1), ANY)
    assert not kept._making


def test_servers_with_other_limits_get_other_files() -> None:
    kept = MediaFiles()
    whole, small = kept.of(image(0), ANY), kept.of(image(0), SMALL)
    assert (whole.width, small.width, small.height) == (10, 2, 2)
    assert whole.digest != small.digest


def test_a_whole_image_is_never_left_out() -> None:
    talk = Conversation.from_prompt("Which color?", image(1))
    template = Template.of({"messages": messages(talk, whole_images=True)})
    parts = [one.to_json(FILE, "uuid", omitted=True) for one in template.media]
    [sent, _] = json.loads(b"".join(template.filled(parts)))["messages"][0]["content"]
    assert sent == {"type": "image_url", "image_url": {"url": FILE.data_uri.decode()}}
