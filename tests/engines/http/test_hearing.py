"""Sounds on their way to servers, and servers that do not take them."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import anyio
import pytest

from dreamr.conversation import Conversation, Document, Image, Text, Turn, Video
from dreamr.engines import Capabilities, Context
from dreamr.engines.http import HttpEngine
from dreamr.engines.http.media_files import ImageLimits, MediaFiles
from dreamr.engines.http.media_parts import Template, image_part, sound_part
from dreamr.engines.http.messages import messages
from dreamr.engines.http.routes import CarriedRoute, ChatRoute, TextRoute
from dreamr.engines.http.servers import SGLANG, VLLM
from dreamr.errors import EngineError, Unsupported
from support.served import FORGETFUL, THINKING, Served
from support.served_calls import use, written
from support.sounds import SoundServed, sound

IMAGE = Image(bytes([7]) * 64 * 64 * 3, 64, 64)
SOUND = sound()
SPOKEN = Conversation((Turn("user", (Text("Listen: "), SOUND, IMAGE, Text("What is it?"))),))
SCRIPT = "It is a tone.\n\nAnswer: 300"


def hearing(served: Served, talk: Conversation = SPOKEN) -> Capabilities:
    async def work(engine: HttpEngine) -> Capabilities:
        assert engine.capabilities.hears is None
        await engine.prepare(talk)
        return engine.capabilities

    return use(served, work)


def test_parts_keep_their_order_and_the_sound_is_a_wav_file() -> None:
    served = SoundServed(script=SCRIPT)
    assert use(served, lambda engine: written(engine, SPOKEN)) == SCRIPT
    parts = served.heard[-1]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "input_audio", "image_url", "text"]
    given = parts[1]["input_audio"]
    assert given["format"] == "wav"
    assert b64decode(given["data"]) == SOUND.data


def test_a_spoken_question_is_sent_without_an_empty_text() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        assert await written(engine, Conversation.from_prompt("", IMAGE, SOUND)) == SCRIPT

    use(served, work)
    parts = served.heard[-1]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url", "input_audio"]


@pytest.mark.parametrize("joined", [True, False])
def test_the_users_message_carries_a_text_after_a_spoken_question(joined: bool) -> None:
    async def carried() -> Any:
        route = CarriedRoute("<assistant>", joined=joined)
        body = await route.continued(Conversation.from_prompt("", SOUND), "It is")
        return body["messages"][0]["content"]

    sound_part, text_part = anyio.run(carried)
    assert sound_part["type"] == "input_audio"
    assert text_part == {"type": "text", "text": "<assistant>It is"}


def test_a_step_is_judged_after_the_sound() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> float:
        [evidence] = await engine.judge(Context(SPOKEN), ["It is a tone.\n\n"])
        return evidence.ratio

    assert use(served, work) == pytest.approx(0.9)
    assert served.heard[-1]["messages"][0]["content"][1]["type"] == "input_audio"


def test_a_server_is_tried_once_with_a_sound_of_its_own_before_the_first() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(written, engine, SPOKEN)
        await written(engine, SPOKEN)

    use(served, work)
    tries = [body for body in served.heard if "Listen" not in str(body)]
    assert 1 <= len(tries) <= 4
    assert all(body["max_tokens"] == 1 for body in tries)


def test_a_conversation_without_sound_tries_nothing() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await written(engine, Conversation.from_prompt("What is it?", IMAGE))
        assert engine.capabilities.hears is None

    use(served, work)
    assert not served.heard


def test_a_server_that_refuses_a_sound_does_not_hear() -> None:
    found = hearing(SoundServed(sounds="refused"))
    assert found.hears is False
    assert "At most 0 audio(s)" in found.hearing_problem


def test_a_server_that_ignores_a_sound_does_not_hear() -> None:
    found = hearing(SoundServed(sounds="ignored"))
    assert (found.hears, found.hearing_problem) == (False, "its server ignores sound")


@pytest.mark.parametrize("shows", [True, False])
def test_a_server_that_takes_sounds_hears(shows: bool) -> None:
    assert hearing(SoundServed(shows=shows)).hears is True


def test_a_family_that_hears_is_told_how_to_start_the_server() -> None:
    served = SoundServed(sounds="refused", models=["Qwen2-Audio-7B-Instruct"])
    assert "--limit-mm-per-prompt audio=1" in hearing(served).hearing_problem


@pytest.mark.parametrize("template", [THINKING, FORGETFUL])
def test_templates_whose_route_takes_no_sound_are_refused_or_answered_in_chat(
    template: str,
) -> None:
    found = hearing(SoundServed(template=template))
    assert found.hears is (template == FORGETFUL)
    assert bool(found.hearing_problem) is (template == THINKING)


def test_calls_with_a_sound_to_a_model_that_does_not_hear_say_why() -> None:
    async def work(engine: HttpEngine) -> None:
        for call in (
            written(engine, SPOKEN),
            engine.count(SPOKEN),
            engine.judge(Context(SPOKEN), ["A."]),
        ):
            with pytest.raises(Unsupported, match="tiny takes no sound: its server ignores sound"):
                await call

    use(SoundServed(sounds="ignored"), work)


def test_a_server_that_fails_while_it_is_tried_is_tried_again() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        served.failures += [500]
        with pytest.raises(EngineError, match="status 500"):
            await engine.count(SPOKEN)
        assert engine.capabilities.hears is None
        assert await engine.count(SPOKEN)
        assert engine.capabilities.hears is True

    use(served, work, retries=0)


def test_the_prompt_is_counted_with_the_sound() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> list[int]:
        plain = Conversation((Turn("user", (Text("Listen: "), Text("What is it?"))),))
        heard = Conversation((Turn("user", (Text("Listen: "), SOUND, Text("What is it?"))),))
        return [await engine.count(talk) for talk in (plain, heard)]

    plain, heard = use(served, work)
    assert heard >= plain + 10


def test_sglang_gets_sounds_as_data_uris() -> None:
    async def parts() -> Any:
        return (await ChatRoute(SGLANG).opened(SPOKEN))["messages"][0]["content"]

    part = anyio.run(parts)[1]
    template = Template.of(part)
    [reference] = template.media
    file = MediaFiles().of(reference.media, ImageLimits())
    body = b"".join(template.filled([reference.to_json(file, "data")]))
    assert part["type"] == "audio_url"
    assert body.startswith(b'{"type":"audio_url","audio_url":{"url":"data:audio/wav;base64,UklG')


def test_images_and_sounds_of_a_body_keep_their_places() -> None:
    body = [image_part(IMAGE), sound_part(SOUND), sound_part(sound(pitch=500)), image_part(IMAGE)]
    template = Template.of({"content": body, "end": 1})
    assert [one.kind for one in template.media] == ["image", "sound", "sound", "image"]
    written = b"".join(template.filled([b"first", b"second", b"third", b"fourth"]))
    places = [written.find(word) for word in (b"first", b"second", b"third", b"fourth", b'"end"')]
    assert places == sorted(places)
    assert -1 not in places
    assert template.text_bytes < 500


def test_only_chat_routes_take_sounds() -> None:
    async def render(body: Any) -> str:
        return ""

    plain = Conversation((Turn("user", (SOUND, Text("What is it?"))),))
    assert ChatRoute(VLLM).takes(plain)
    assert CarriedRoute("<assistant>").takes(plain)
    assert not CarriedRoute("<assistant>", placeholder="<image>").takes(SPOKEN)
    assert not TextRoute("opening", "mark", render).takes(plain)


@pytest.mark.parametrize("part", [Video((), 1.0), Document((), 0)])
def test_videos_and_documents_have_to_be_flattened_first(part: Video | Document) -> None:
    with pytest.raises(Unsupported, match=r"cannot be sent as it is: use flatten"):
        messages(Conversation((Turn("user", (part, Text("What is it?"))),)))
