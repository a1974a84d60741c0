"""PDF files, videos and sounds in requests: received, checked and read after admission."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import anyio
import httpx2
import PIL.Image
import pytest

from dreamr.conversation import Audio, Conversation, Document, Image, MediaOptions
from dreamr.serving.gateway import media
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.media import MediaFetcher, ReceivedMessage
from dreamr.serving.gateway.memory import Memory
from dreamr.serving.options import ServeOptions
from support.attachments import pdf, png, wav
from support.gateways import QUESTION, Answer, Gateway, Json, use
from support.media_files import clip

PUBLIC = "93.184.215.14"
URL = "https://files.example/bill.pdf"
FIELD = "messages.0.content.0.file.file_data"


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


def sent(data: bytes, kind: Any = "file", **more: Any) -> SentMedia:
    return SentMedia(kind, FIELD, base64=encoded(data), **more)


def read(
    *parts: SentMedia | str,
    limits: ServeOptions | None = None,
    media: MediaOptions | None = None,
    **network: Any,
) -> Conversation:
    limits = limits or ServeOptions()

    async def main() -> Conversation:
        fetcher = MediaFetcher(limits, **network)
        memory = Memory(body_bytes=2**24, body_most=2**24, pixels=limits.max_total_pixels)
        with memory.lease("client") as lease:
            received = await fetcher.receive([ParsedMessage("user", parts)], lease)
            return await fetcher.decode(received, media or MediaOptions())

    return anyio.run(main)


def refused(*parts: SentMedia | str, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(*parts, **more)
    assert "\n" not in caught.value.message
    return caught.value


def test_a_file_part_holds_any_kind_of_file() -> None:
    kinds = {
        Document: pdf(10, 200), Image: png(), Audio: wav(),
    }  # fmt: skip
    for kind, data in kinds.items():
        [turn] = read(sent(data, name="it"), "What is it?").turns
        assert isinstance(turn.parts[0], kind)


def test_the_pages_of_a_request_are_those_that_it_chooses() -> None:
    [turn] = read(
        sent(pdf(10, 100, 200), name="bill.pdf"), "Well?", media=MediaOptions(pages="2-3")
    ).turns
    [document, _] = turn.parts
    assert isinstance(document, Document)
    assert [page.number for page in document.pages] == [2, 3]
    assert (document.name, document.count) == ("bill.pdf", 3)


def test_a_spoken_question_needs_no_text() -> None:
    [turn] = read(sent(wav(), "sound")).turns
    assert isinstance(turn.parts[0], Audio)


def test_a_file_alone_is_no_question_unless_it_is_sound() -> None:
    with pytest.raises(Exception, match="question is empty"):
        read(sent(pdf(1)))
    assert read(sent(wav())).turns


@pytest.mark.parametrize("data", [b"%PDF-1.7 but no more", pdf(1)[:200], b"\0" * 64, b"text"])
def test_a_file_that_cannot_be_read_names_its_field(data: bytes) -> None:
    error = refused(sent(data), "Well?")
    assert (error.status, error.param, error.code) == (400, FIELD, "invalid_file")


@pytest.mark.parametrize(
    ("text", "message"), [("@@@", "not valid base64"), ("", "is empty"), ("A", "not valid base64")]
)
def test_content_that_is_not_base64_names_its_field(text: str, message: str) -> None:
    error = refused(SentMedia("file", FIELD, base64=text), "Well?")
    assert (error.param, error.code) == (FIELD, "invalid_file")
    assert message in error.message


def test_a_part_of_the_wrong_kind_says_which_part_to_use() -> None:
    assert "send it as file" in refused(sent(pdf(1), "video"), "Well?").message
    assert "send it as image_url" in refused(sent(png(), "sound"), "Well?").message
    assert "send it as input_audio" in refused(sent(wav(), "video"), "Well?").message
    image = SentMedia("image", FIELD, url="data:,x" + "y" * 20)
    assert refused(image, "Well?").code == "invalid_image"


def test_pages_count_as_images() -> None:
    limits = ServeOptions(max_images=3)
    error = refused(sent(png()), sent(pdf(1, 2, 3)), "Well?", limits=limits)
    assert "more than 3 images, pages and frames" in error.message
    assert "--max-images" in error.message
    assert error.param == FIELD
    assert read(sent(png()), sent(pdf(1, 2)), "Well?", limits=limits).turns


def test_pixels_are_reserved_for_all_pages_that_a_file_can_have() -> None:
    limits = ServeOptions(max_images=4)
    fetcher = MediaFetcher(limits)
    memory = Memory(body_bytes=2**24, body_most=2**24, pixels=2**20)
    media = MediaOptions(max_pixels=1000)

    def pixels(*parts: Any) -> int:
        async def main() -> tuple[ReceivedMessage, ...]:
            with memory.lease("client") as lease:
                return await fetcher.receive([ParsedMessage("user", (*parts, "?"))], lease)

        return fetcher.pixels(anyio.run(main), media)

    assert pixels(sent(wav(), "sound")) == 0
    assert pixels(sent(png(side=8))) == 64
    assert pixels(sent(pdf(1))) == 4000
    assert pixels(sent(pdf(1)), sent(png(side=8))) == 64 + 3000


def test_pixels_that_were_not_needed_are_given_back() -> None:
    memory = Memory(body_bytes=2**20, body_most=2**20, pixels=1000)

    async def main() -> None:
        with memory.lease("client") as lease:
            await lease.take_pixels(900)
            lease.keep_pixels(100)
            assert memory.pixels.used == 100
            lease.keep_pixels(500)
            assert memory.pixels.used == 100
        assert memory.pixels.used == 0

    anyio.run(main)


@pytest.mark.parametrize(
    ("kind", "accept"),
    [
        ("video", "video/*"), ("sound", "audio/*"),
        ("file", "application/pdf, image/*, video/*, audio/*"),
    ],
)  # fmt: skip
def test_files_of_all_kinds_are_fetched_by_the_rules_of_images(kind: Any, accept: str) -> None:
    content = {"video": clip, "sound": wav, "file": lambda: pdf(10)}[kind]()
    asked: list[str] = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers["accept"])
        return httpx2.Response(200, stream=httpx2.ByteStream(content))

    async def resolve(host: str, port: int) -> list[str]:
        return [PUBLIC if host == "clips.example" else "10.0.0.1"]

    network = {"resolve": resolve, "transport": httpx2.MockTransport(serve)}
    hosts = ServeOptions(allowed_media_domains="clips.example,inside.example")

    def part(url: str) -> SentMedia:
        return SentMedia(kind, f"messages.0.content.0.{kind}_url", url)

    for url, code in (
        ("https://other.example/a", f"{kind}_host_not_allowed"),
        ("https://inside.example/a", f"{kind}_host_not_allowed"),
        ("file:///etc/passwd", None),
        ("data:,", f"invalid_{kind}"),
    ):
        error = refused(part(url), "Well?", limits=hosts, **network)
        assert (error.code, error.param) == (code, f"messages.0.content.0.{kind}_url")
    assert not asked
    assert read(part("https://clips.example/a"), "Well?", limits=hosts, **network).turns
    assert asked == [accept]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v1/responses", {"type": "input_file", "file_url": URL}),
        ("/v1/messages", {"type": "document", "source": {"type": "url", "url": URL}}),
    ],
)
def test_documents_are_fetched_from_allowed_hosts_in_each_api(path: str, part: Json) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [PUBLIC]

    def serve(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=httpx2.ByteStream(pdf(10, 200)))

    hosts = ServeOptions(allowed_media_domains="files.example")
    media = MediaFetcher(hosts, resolve=resolve, transport=httpx2.MockTransport(serve))
    name, text = ("input", "input_text") if path == "/v1/responses" else ("messages", "text")
    content = [part, {"type": text, "text": QUESTION}]
    body = {"model": "dreamr", name: [{"role": "user", "content": content}], "max_tokens": 100}

    async def work(gate: Gateway) -> Answer:
        return await gate.ask(body, path)

    found = use(work, media=media)
    assert found.status == 200
    [attachment] = found.json["dreamr"]["attachments"]
    assert (attachment["kind"], attachment["pages"]) == ("document", [1, 2])


def test_an_animated_image_is_not_a_video() -> None:
    file = io.BytesIO()
    frames = [PIL.Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 99)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert "send it as image_url" in refused(sent(file.getvalue(), "video"), "Well?").message


def decoded_twice(
    monkeypatch: pytest.MonkeyPatch, *salts: str | None, data: bytes, **more: Any
) -> tuple[list[Any], int]:
    """Return what one file is decoded to with each salt, and how often it was read."""
    reads = 0
    read_file = media.read_attachment_isolated
    read_image = media.read_image

    async def file_read(*given: Any, **named: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read_file(*given, **named)

    def image_read(*given: Any, **named: Any) -> Any:
        nonlocal reads
        reads += 1
        return read_image(*given, **named)

    monkeypatch.setattr(media, "read_attachment_isolated", file_read)
    monkeypatch.setattr(media, "read_image", image_read)

    async def main() -> list[Any]:
        fetcher, found = MediaFetcher(ServeOptions()), []
        memory = Memory(body_bytes=2**24, body_most=2**24, pixels=2**24)
        for salt in salts:
            with memory.lease("client") as lease:
                turns = [ParsedMessage("user", (sent(data, **more), "What is it?"))]
                received = await fetcher.receive(turns, lease)
                talk = await fetcher.decode(received, MediaOptions(), salt)
                found.append(talk.turns[0].parts[0])
        return found

    return anyio.run(main), reads


@pytest.mark.parametrize("data", [pdf(10, 200), png(), wav()], ids=["pdf", "image", "sound"])
def test_a_file_of_several_requests_is_decoded_once(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    (first, second), reads = decoded_twice(monkeypatch, None, None, data=data, name="it")
    assert first is second
    assert reads == 1


def test_clients_with_salts_of_their_own_share_no_decoded_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first, second, third), reads = decoded_twice(monkeypatch, "a", "b", "a", data=pdf(10))
    assert first == second
    assert first is third
    assert reads == 2


def test_a_file_that_was_read_before_must_still_be_what_its_part_says() -> None:
    async def main() -> None:
        fetcher = MediaFetcher(ServeOptions())
        memory = Memory(body_bytes=2**24, body_most=2**24, pixels=2**24)
        with memory.lease("client") as lease:
            for kind in ("file", "video"):
                turns = [ParsedMessage("user", (sent(wav(), kind), "What is it?"))]
                received = await fetcher.receive(turns, lease)
                if kind == "file":
                    await fetcher.decode(received)
                    continue
                with pytest.raises(ApiError, match="the video is sound"):
                    await fetcher.decode(received)

    anyio.run(main)
