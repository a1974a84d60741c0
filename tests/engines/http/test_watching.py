"""Video files on their way to servers, and servers that do not take them."""

from __future__ import annotations

from base64 import b64decode

import pytest

from dreamr.conversation import Conversation, Text, Turn, read_attachment
from dreamr.engines import Capabilities, Context
from dreamr.engines.http import HttpEngine
from dreamr.engines.http.watching import watched_conversation
from dreamr.errors import EngineError, Unsupported
from support.served_calls import use, written
from support.videos import VideoServed, clip

SCRIPT = "A door opens.\n\nAnswer: the door"
TALK = Conversation((Turn("user", (Text("See: "), clip(), Text("What moves?"))),))


def watching(served: VideoServed, talk: Conversation = TALK) -> Capabilities:
    async def work(engine: HttpEngine) -> Capabilities:
        assert engine.capabilities.watches is None
        await engine.prepare(talk)
        return engine.capabilities

    return use(served, work)


def test_a_video_file_arrives_as_it_is_in_its_place() -> None:
    served = VideoServed(script=SCRIPT)
    assert use(served, lambda engine: written(engine, TALK)) == SCRIPT
    parts = served.chats[-1]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "video_url", "text"]
    head, _, data = parts[1]["video_url"]["url"].partition(",")
    assert head == "data:video/mp4;base64"
    assert b64decode(data) == clip().data


def test_a_video_file_is_sent_once_to_a_server_that_keeps_it() -> None:
    served = VideoServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await written(engine, TALK)
        await engine.judge(Context(TALK), ["A door opens.\n\n"])
        await written(engine, TALK, "A door opens.\n\n")

    use(served, work)
    assert len(served.sent) >= 3
    assert [part["video_url"] is not None for part in served.sent].count(True) == 1


@pytest.mark.parametrize("owner", ["sglang", "somebody"])
def test_other_servers_get_a_video_file_each_time(owner: str) -> None:
    served = VideoServed(owner, SCRIPT)

    async def work(engine: HttpEngine) -> None:
        for _ in range(2):
            await written(engine, TALK)

    use(served, work)
    assert len(served.sent) == 2
    assert all(part["video_url"]["url"].startswith("data:video/") for part in served.sent)
    assert all("uuid" not in part for part in served.sent)


def test_llama_cpp_gets_a_video_file_in_its_own_form() -> None:
    served = VideoServed("llamacpp", SCRIPT)
    assert use(served, lambda engine: written(engine, TALK)) == SCRIPT
    [part] = served.sent
    assert part["type"] == "input_video"
    assert b64decode(part["input_video"]["data"]) == clip().data


def test_ollama_takes_no_video_file() -> None:
    found = watching(VideoServed("library", SCRIPT))
    assert found.watches is False
    assert "takes no video files" in found.watching_problem


@pytest.mark.parametrize(
    ("videos", "problem"),
    [("refused", "At most 0 video(s)"), ("ignored", "its server ignores video files")],
)
def test_a_server_that_does_not_watch_says_why(videos: str, problem: str) -> None:
    served = VideoServed(script=SCRIPT, videos=videos)  # type: ignore[arg-type]

    async def work(engine: HttpEngine) -> None:
        await engine.prepare(TALK)
        assert engine.capabilities.watches is False
        assert problem in engine.capabilities.watching_problem
        for call in (
            written(engine, TALK),
            engine.count(TALK),
            engine.judge(Context(TALK), ["A."]),
        ):
            with pytest.raises(Unsupported, match="tiny takes no video files: "):
                await call
        assert await written(engine, Conversation.from_prompt("What is 2 + 2?")) == SCRIPT

    use(served, work)


def test_a_server_that_fails_while_it_is_tried_is_tried_again() -> None:
    served = VideoServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        served.failures += [500]
        with pytest.raises(EngineError, match="status 500"):
            await engine.count(TALK)
        assert engine.capabilities.watches is None
        assert await engine.count(TALK)
        assert engine.capabilities.watches is True

    use(served, work, retries=0)


def test_a_conversation_without_a_video_file_tries_nothing() -> None:
    served = VideoServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await written(engine, Conversation.from_prompt("What is 2 + 2?"))
        assert engine.capabilities.watches is None

    use(served, work)


def test_the_clip_that_servers_are_tried_with_can_be_decoded() -> None:
    pytest.importorskip("av")
    [file] = watched_conversation().video_files
    found = read_attachment(file.data)
    assert type(found).__name__ == "Video"
    assert len(found.frames) == 8  # type: ignore[union-attr]
