"""Video files on real servers: vLLM with a small random model, and one that does not watch."""

from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Conversation, Text, VideoFile
from dreamr.engines import Context
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.watching import watched_conversation
from support.real_served import Served, asked, continue_and_judge, written

pytestmark = pytest.mark.server
STEPS = ("First, the door opens.\n\n", "Then it closes.\n\n")
[CLIP] = watched_conversation().video_files
families = pytest.mark.parametrize("family", ["qwen3_vl_instruct"], indirect=True, scope="module")


@families
def test_a_video_file_is_watched_and_sent_once(family: Served) -> None:
    _, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            talk = asked(Text("See: "), CLIP)
            await engine.prepare(talk)
            assert engine.capabilities.watches is True, engine.capabilities.watching_problem
            assert await engine.count(talk) >= await engine.count(asked(Text("See: "))) + 10
            await written(engine, Context(talk), 1)
            before = engine.sent_bytes
            await written(engine, Context(talk), 1)
            assert engine.media_route("video") == "uuid"
            assert engine.sent_bytes - before < len(CLIP.data)

    anyio.run(work)


@families
def test_a_text_is_continued_and_judged_after_a_video_file(family: Served) -> None:
    _, url = family
    anyio.run(continue_and_judge, url, [asked(CLIP)], STEPS)


@families
def test_a_file_that_is_not_a_video_is_one_line(family: Served) -> None:
    _, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url, retries=0)) as engine:
            with pytest.raises(Exception, match="returned status") as caught:
                await engine.count(asked(VideoFile(b"not a video" * 9, "video/mp4")))
            assert "\n" not in str(caught.value)

    anyio.run(work)


def test_a_model_that_does_not_watch_says_so(llama_url: str) -> None:
    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=llama_url)) as engine:
            await engine.prepare(asked(CLIP))
            assert engine.capabilities.watches is False
            assert engine.capabilities.watching_problem
            await engine.count(Conversation.from_prompt("How many?"))  # it still works

    anyio.run(work)
