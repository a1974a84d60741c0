from __future__ import annotations

import gzip
import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import PIL.Image
import pytest

from dreamr.conversation import Conversation, Image, Text
from dreamr.errors import DreamrError
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.gateway.memory import Memory
from dreamr.serving.options import ServeOptions

PUBLIC = "93.184.215.14"


def png(width: int = 3, height: int = 2) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


def data(content: bytes, head: str = "data:image/png;base64,") -> str:
    return head + b64encode(content).decode()


def read(url: str, limits: ServeOptions | None = None, **network: Any) -> Conversation:
    turns = [
        ParsedMessage("user", (SentMedia("image", "messages.0.content.0", url=url), "What is it?"))
    ]
    return anyio.run(conversation, turns, limits or ServeOptions(), network)


async def conversation(
    turns: list[ParsedMessage], limits: ServeOptions, network: dict[str, Any]
) -> Conversation:
    media = MediaFetcher(limits, **network)
    memory = Memory(body_bytes=2**20, body_most=2**20, pixels=limits.max_total_pixels)
    with memory.lease("client") as lease:
        return await media.decode(await media.receive(turns, lease))


def refused(url: str, limits: ServeOptions | None = None, **network: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(url, limits, **network)
    assert caught.value.param == "messages.0.content.0"
    return caught.value


def test_an_image_in_the_request_is_read() -> None:
    for head in ("data:image/png;base64,", "DATA:;BASE64,", "data:image/jpeg;x=1;base64,"):
        [turn] = read(data(png(), head)).turns
        image, text = turn.parts
        assert isinstance(image, Image)
        assert (image.width, image.height) == (3, 2)
        assert text == Text("What is it?")


@pytest.mark.parametrize(
    "url",
    [
        data(b"hello"), data(b""), "data:image/png;base64,@@@", "data:image/png;base64", "data:",
        data(png()[:40]), "", "image.png", "/etc/passwd", "file:///etc/passwd", "ftp://x/y",
        "data:image/png," + "%zz",
    ],
)  # fmt: skip
def test_an_invalid_image_is_refused_in_one_line(url: str) -> None:
    error = refused(url)
    assert error.status == 400
    assert "\n" not in error.message


def test_an_image_of_too_many_pixels_is_not_decoded() -> None:
    assert "pixels" in refused(data(png(50, 50)), ServeOptions(max_upload_pixels=100)).message


def test_a_conversation_without_a_prompt_is_refused() -> None:
    with pytest.raises(DreamrError):
        anyio.run(conversation, [ParsedMessage("assistant", ("no",))], ServeOptions(), {})


class Network:
    """Network with fixed addresses and responses that records its requests."""

    def __init__(self, answers: dict[str, httpx2.Response], address: str = PUBLIC) -> None:
        self.answers, self.address = answers, address
        self.asked: list[tuple[str, str, str]] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        return [self.address] if host != "inside.example" else ["10.1.2.3"]

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        host = request.headers["host"]
        self.asked.append((request.url.host, host, str(request.extensions.get("sni_hostname"))))
        return self.answers[f"{host}{request.url.path}"]

    def use(self) -> dict[str, Any]:
        return {"resolve": self.resolve, "transport": httpx2.MockTransport(self.answer)}


def found(content: bytes) -> httpx2.Response:
    return httpx2.Response(200, stream=httpx2.ByteStream(content))


ALLOWED = ServeOptions(allowed_media_domains="pics.example, inside.example")


def test_images_are_fetched_only_from_allowed_hosts() -> None:
    network = Network({})
    for url in ("https://pics.example/a.png", "http://127.0.0.1:8500/metrics", "http://[::1]/"):
        assert refused(url, **network.use()).code == "image_host_not_allowed"
    error = refused("https://pics.example.evil.example/a.png", ALLOWED, **network.use())
    assert error.code == "image_host_not_allowed"
    assert network.asked == []


def test_an_allowed_host_is_contacted_at_the_checked_address() -> None:
    network = Network({"pics.example/a.png": found(png())})
    [turn] = read("https://pics.example/a.png", ALLOWED, **network.use()).turns
    assert isinstance(turn.parts[0], Image)
    assert network.asked == [(PUBLIC, "pics.example", "pics.example")]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "::1", "fe80::1%eth0",
     "fd00::1", "::ffff:127.0.0.1", "224.0.0.1", "100.64.0.1"],
)  # fmt: skip
def test_a_host_with_an_internal_address_is_refused(address: str) -> None:
    network = Network({}, address)
    message = refused("https://pics.example/a.png", ALLOWED, **network.use()).message
    assert "an internal address: send the image as a data URI" in message
    assert network.asked == []


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "https://inside.example/x",
        "https://other.example/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_is_checked_like_the_first_url(location: str) -> None:
    network = Network({"pics.example/a.png": httpx2.Response(302, headers={"location": location})})
    refused("https://pics.example/a.png", ALLOWED, **network.use())
    assert len(network.asked) == 1


def test_redirects_to_allowed_hosts_are_followed_up_to_a_limit() -> None:
    turn = httpx2.Response(302, headers={"location": "/b.png"})
    image = found(png())
    network = Network({"pics.example/a.png": turn, "pics.example/b.png": image})
    assert read("https://pics.example/a.png", ALLOWED, **network.use()).images
    round_ = Network({"pics.example/b.png": turn})
    assert (
        "too many redirects"
        in refused("https://pics.example/b.png", ALLOWED, **round_.use()).message
    )


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(404),
        found(b"x" * 5000),
        found(b"x"),
    ],
)
def test_a_response_that_is_not_an_image_is_refused(answer: httpx2.Response) -> None:
    limits = ServeOptions(allowed_media_domains="pics.example", max_body=2000)
    network = Network({"pics.example/a.png": answer})
    refused("https://pics.example/a.png", limits, **network.use())


def test_an_unknown_host_is_reported() -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no such host")

    assert "fetched" in refused("https://pics.example/a.png", ALLOWED, resolve=nobody).message


def unreachable(addresses: Sequence[str], reached: str) -> tuple[dict[str, Any], list[str]]:
    """Return a network where connections to all addresses but one fail, and what was tried."""
    tried: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    async def answer(request: httpx2.Request) -> httpx2.Response:
        tried.append(request.url.host)
        if request.url.host != reached:
            raise (
                httpx2.ConnectError("refused") if len(tried) % 2 else httpx2.ConnectTimeout("late")
            )
        return found(png())

    return {"resolve": resolve, "transport": httpx2.MockTransport(answer)}, tried


def test_all_addresses_of_a_host_are_tried_in_turn() -> None:
    addresses = ["2606:4700::1", "93.184.215.14", "93.184.215.15", "93.184.215.16"]
    network, tried = unreachable(addresses, "93.184.215.15")
    assert read("https://pics.example/a.png", ALLOWED, **network).images
    assert tried == addresses[:3]
    network, tried = unreachable(addresses, "none")
    assert "could not be fetched" in refused("https://pics.example/", ALLOWED, **network).message
    assert tried == addresses


def test_a_host_with_one_internal_address_among_others_is_refused() -> None:
    network, tried = unreachable([PUBLIC, "10.0.0.1"], PUBLIC)
    assert "internal" in refused("https://pics.example/a.png", ALLOWED, **network).message
    assert not tried


@pytest.mark.parametrize(
    "url",
    [
        "http://pics.example:99999/", "http://pics.example:0/", "http://pics.example:8080/",
        "http://pics.example:22/", "https://pics.example:-1/", "http://0x7f.1/", "http://2130706433/",
        "http://017700000001/", "http://127.1/", "http://[::ffff:7f00:1]/", "http://pics.example:x/",
    ],
)  # fmt: skip
def test_other_ports_and_spellings_of_addresses_are_refused(url: str) -> None:
    network = Network({})
    assert refused(url, ALLOWED, **network.use()).status == 400
    assert not network.asked


def test_a_port_that_is_named_is_allowed() -> None:
    limits = ServeOptions(allowed_media_domains="pics.example:8080")
    network = Network({"pics.example:8080/a.png": found(png())})
    assert read("http://pics.example:8080/a.png", limits, **network.use()).images
    assert refused("http://pics.example/a.png", limits).code == "image_host_not_allowed"


def test_a_file_over_the_limit_names_the_option() -> None:
    limits = replace(ALLOWED, max_body=2000)
    network = Network({"pics.example/a.png": found(bytes(3000))})
    error = refused("https://pics.example/a.png", limits, **network.use())
    assert error.message == (
        "the image has more than 2,000 bytes: send a smaller one, or raise --max-body of the "
        "gateway"
    )


def test_a_compressed_response_is_not_expanded() -> None:
    bomb = gzip.compress(bytes(20_000_000))
    answer = httpx2.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(bomb)
    )
    network = Network({"pics.example/a.png": answer})
    error = refused("https://pics.example/a.png", ALLOWED, **network.use())
    assert "not in a supported image format" in error.message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_large_image_is_shrunk_to_what_models_use(kind: str) -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (1600, 1200), "red").save(file, kind)
    [image] = read(data(file.getvalue()), fit=lambda: 30_000).images
    assert (image.width, image.height) == (200, 150)
    assert image.pixels[0] > 250
    assert image.pixels[1] < 5


def test_images_that_are_damaged_after_the_header_are_refused_when_they_are_decoded() -> None:
    for side in (60, 2000):  # in a thread, in a process
        file = io.BytesIO()
        PIL.Image.effect_noise((side, side), 90).save(file, "PNG")
        error = refused(data(file.getvalue()[:-1000]), fit=lambda: 30_000)
        assert error.code == "invalid_image"
        assert "damaged" in error.message
