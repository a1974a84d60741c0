"""Sounds of some length are sent once to a server that finds them again."""

from __future__ import annotations

from base64 import b64decode

from dreamr.conversation import Conversation
from dreamr.engines import Context
from dreamr.engines.http import HttpEngine
from support.served_calls import use, written
from support.sounds import SoundServed, sound

LONG = sound(seconds=4)
TALK = Conversation.from_prompt("How many beeps are there?", LONG)
STEPS = ["There are two beeps.\n\n", "Then one more.\n\n"]
SCRIPT = "".join(STEPS) + "Answer: 3"


def carried(served: SoundServed) -> int:
    return sum(bool(part["input_audio"]["data"]) for part in served.asked)


def test_a_sound_is_sent_once_to_a_server_that_keeps_it() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        assert engine.media_route("sound") is None
        assert await written(engine, TALK) == SCRIPT
        assert engine.media_route("sound") == "uuid"
        await engine.judge(Context(TALK), STEPS)
        await written(engine, TALK, STEPS[0])
        await written(engine, Conversation.from_prompt("How long is it?", LONG), STEPS[0])

    use(served, work)
    assert len(served.asked) >= 5
    assert carried(served) == 1
    [first] = {part["uuid"] for part in served.asked}
    assert b64decode(served.kept[first]) == LONG.data


def test_a_sound_that_the_server_has_lost_is_sent_again() -> None:
    served = SoundServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await written(engine, TALK)
        served.kept.clear()
        assert await written(engine, TALK, STEPS[0]) == SCRIPT.removeprefix(STEPS[0])
        await engine.judge(Context(TALK), STEPS)

    use(served, work)
    assert carried(served) == 2


def test_a_sound_is_sent_each_time_where_its_id_is_of_no_use() -> None:
    for served in (
        SoundServed(script=SCRIPT, ids="refused"),
        SoundServed(script=SCRIPT, ids="ignored"),
        SoundServed(script=SCRIPT, owner="somebody"),
    ):

        async def work(engine: HttpEngine) -> None:
            for _ in range(3):
                await written(engine, TALK)
            assert engine.media_route("sound") == "data"

        use(served, work)
        assert carried(served) == len(served.asked) == 3
        assert all("uuid" not in part for part in served.asked)


def test_a_short_sound_is_sent_each_time_without_a_check() -> None:
    served, short = SoundServed(script=SCRIPT), sound(seconds=0.5)

    async def work(engine: HttpEngine) -> None:
        for _ in range(2):
            await written(engine, Conversation.from_prompt("How many beeps?", short))
        assert engine.media_route("sound") is None

    use(served, work)
    assert not served.kept
