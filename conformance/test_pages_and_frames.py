"""Pages and frames on real servers: small random models in vLLM, the bundled pair in llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import pytest

from dreamr import RunOptions
from dreamr.conversation import (
    Conversation,
    Document,
    Image,
    MediaOptions,
    Text,
    Turn,
    Video,
    flatten,
    read_attachment,
)
from dreamr.engines import Context
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.client import Client
from dreamr.engines.http.rendering import RenderedPrompts
from dreamr.runner import run
from support.media_files import clip, pdf, text_on_page
from support.real_served import Served, continue_and_judge, written

# Families, and what stands for an image in a prompt.
FAMILIES = {"qwen3_vl_instruct": "<|image_pad|>", "gemma4": "<|image|>"}
pytestmark = pytest.mark.server
families = pytest.mark.parametrize("family", list(FAMILIES), indirect=True, scope="module")
SMALL = MediaOptions(max_pixels=128 * 128, frames=4)
QUESTION = "How many?"
TOKENS = 32  # of a run


@pytest.fixture(scope="module")
def bill() -> Document:
    pages = (text_on_page(f"Line {number} costs {number}.50") for number in range(1, 4))
    found = read_attachment(pdf(*pages), SMALL, name="bill.pdf")
    assert isinstance(found, Document)
    return found


@pytest.fixture(scope="module")
def film() -> Video:
    found = read_attachment(clip(31, size=(128, 96)), SMALL, name="clip.mp4")
    assert isinstance(found, Video)
    return found


def asked(*parts: Document | Video) -> Conversation:
    return Conversation((Turn("user", (*parts, Text(QUESTION))),))


def without_images(conversation: Conversation) -> Conversation:
    turns = (
        Turn(turn.role, tuple(part for part in turn.parts if not isinstance(part, Image)))
        for turn in conversation.turns
    )
    return Conversation(tuple(turns))


@dataclass
class Recorder(httpx2.AsyncBaseTransport):
    """The network, with a record of the bodies that were sent."""

    network: httpx2.AsyncHTTPTransport = field(default_factory=httpx2.AsyncHTTPTransport)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        content = await request.aread()
        if content.startswith(b"{"):
            self.bodies.append(json.loads(content))
        return await self.network.handle_async_request(request)

    async def aclose(self) -> None:
        await self.network.aclose()

    def asked_about(self, word: str) -> Iterator[list[dict[str, Any]]]:
        """Yield the content parts of each message that holds a word."""
        for body in self.bodies:
            for message in body.get("messages", ()):
                parts = message["content"]
                if isinstance(parts, list) and any(word in p.get("text", "") for p in parts):
                    yield parts


def counted(url: str, *talks: Conversation) -> list[int]:
    async def work() -> list[int]:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            return [await engine.count(talk) for talk in talks]

    return anyio.run(work)


@families
def test_each_page_and_each_frame_costs_the_tokens_of_its_image(
    family: Served, bill: Document, film: Video
) -> None:
    check_tokens(family[1], bill, film)


def check_tokens(url: str, bill: Document, film: Video) -> None:
    for whole in (bill, film):
        talk = flatten(asked(whole))
        assert len(talk.images) == (3 if whole is bill else 4)
        one = Conversation((Turn("user", (talk.images[0], Text(QUESTION))),))
        many, bare, single, none = counted(
            url, talk, without_images(talk), one, without_images(one)
        )
        assert many - bare == pytest.approx(len(talk.images) * (single - none), abs=4)
        assert single - none >= 4


def test_llama_cpp_reads_each_page_and_each_frame(
    llama_pair_url: str, bill: Document, film: Video
) -> None:
    check_tokens(llama_pair_url, bill, film)
    talks = [flatten(asked(whole)) for whole in (bill, film)]
    anyio.run(continue_and_judge, llama_pair_url, talks, ("First.\n\n", "Then.\n\n"))


@families
def test_pages_and_frames_arrive_in_their_order(
    family: Served, bill: Document, film: Video
) -> None:
    name, url = family
    image = FAMILIES[name]
    wanted = ["bill.pdf:"]
    wanted += [w for n in (1, 2, 3) for w in (f"Page {n}:", image, f"Line {n} costs")]
    wanted += [w for time in ("0:00.0:", "0:01.0:", "0:02.0:", "0:03.0:") for w in (time, image)]
    wanted.append(QUESTION)
    talk = flatten(asked(bill, film))

    async def work() -> str:
        options = HttpOptions(url=url)
        async with await HttpEngine.open(options) as engine:
            await engine.prepare(talk)
            client = Client(options)
            prompts = RenderedPrompts(client, options, engine.server_info.model, "tokenize")
            body = await engine.server_info.route_for(talk).opened(talk)
            text = await prompts.text({"add_generation_prompt": True, **body})
            await client.aclose()
            return text

    text, start = anyio.run(work), 0
    for word in wanted:
        place = text.find(word, start)
        assert place >= 0, (word, text)
        start = place + len(word)
        while word == image and text.startswith(word, start):
            start += len(word)
    assert text.count(image, start) == 0


@pytest.mark.parametrize("frames", [None, 2])
@families
def test_draft_and_target_see_the_same_frames_unless_the_draft_has_fewer(
    family: Served, film: Video, frames: int | None
) -> None:
    _, url = family
    talk = asked(film)
    target, draft = Recorder(), Recorder()
    options = RunOptions(
        method="sequential", draft_frames=frames, max_tokens=TOKENS, min_label_mass=0.0
    )

    async def work() -> None:
        async with (
            await HttpEngine.open(HttpOptions(url=url), target) as first,
            await HttpEngine.open(HttpOptions(url=url), draft) as second,
        ):
            for engine in (first, second):
                await engine.prepare(talk)
            result = await run(talk, target=first, draft=second, config=options.run_config())
            assert result.error is None
            assert result.usage.draft.written
            assert result.usage.target.written

    anyio.run(work)
    for recorder, count in ((target, 4), (draft, frames or 4)):
        seen = [shape(parts) for parts in recorder.asked_about("0:00.0")]
        assert seen
        assert {kinds.count("image_url") for kinds, _ in seen} == {count}
        times = ["0:00.0", "0:01.0", "0:02.0", "0:03.0"] if count == 4 else ["0:00.0", "0:03.0"]
        assert all([text for text in texts if text[:2] == "0:"] == times for _, texts in seen)


def shape(parts: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the kinds of content parts, and the texts that stand before images."""
    kinds = [part["type"] for part in parts]
    texts = [part["text"].strip().rstrip(":") for part in parts if part["type"] == "text"]
    return kinds, texts


@families
def test_what_is_written_depends_on_the_pages(family: Served, bill: Document) -> None:
    _, url = family

    async def work() -> set[str]:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            texts = set[str]()
            for page in bill.pages:
                talk = flatten(asked(Document((page,), 1, "bill.pdf")))
                texts.add(await written(engine, Context(talk), 12))
            return texts

    assert len(anyio.run(work)) > 1
