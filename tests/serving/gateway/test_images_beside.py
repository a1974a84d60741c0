"""The gateway serves other requests while an image is worked on."""

from __future__ import annotations

import io
import threading
from base64 import b64encode
from typing import Any

import anyio
import anyio.from_thread
import PIL.Image
import pytest

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.engines import Model, ModelSource
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.steps import StepFormat
from support.gateways import Gateway, app_of, asked
from support.image_served import ImageServed
from support.pairs import Pair

SCRIPT = "Tea costs 2.50.\n\nMilk costs 1.20.\n\nAnswer: 3.70"
URL = "http://here"


def photo(width: int, height: int, **more: Any) -> str:
    noise = PIL.Image.effect_noise((width // 8, height // 8), 60).resize((width, height))
    file = io.BytesIO()
    noise.convert("RGB").save(file, "JPEG", **more)
    return "data:image/jpeg;base64," + b64encode(file.getvalue()).decode()


def turned() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


@pytest.mark.parametrize(
    ("uri", "work"),
    [
        (photo(1600, 1200), "dreamr.engines.http.media_files.b64encode"),
        (photo(1600, 1200), "dreamr.engines.http.media_files.as_file"),
        (photo(800, 600), "dreamr.serving.gateway.media.read_image"),
        (photo(800, 600), "dreamr.serving.gateway.media.read_data_uri"),
        (photo(800, 600, exif=turned()), "dreamr.conversation.encoding.to_pillow"),
    ],
    ids=["base64", "a file", "decoding", "the data URI", "encoding"],
)
def test_health_is_answered_while_an_image_is_worked_on(
    uri: str, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is held up until `/health` has answered, which it never does in the same thread."""
    target, draft = ImageServed(script=SCRIPT), ImageServed(script=SCRIPT)
    answered = threading.Event()
    module, _, name = work.rpartition(".")
    original = getattr(__import__(module, fromlist=[name]), name)

    async def open_model(source: ModelSource) -> Model:
        served = target if source.role == "target" else draft
        engine = await HttpEngine.open(HttpOptions(url=URL), served.transport)
        return Model(engine, StepFormat())

    async def main() -> None:
        begun = anyio.Event()

        def held_up(*arguments: Any, **named: Any) -> Any:
            anyio.from_thread.run_sync(begun.set)
            assert answered.wait(20)
            return original(*arguments, **named)

        monkeypatch.setattr(work, held_up)
        load = Load(aware=False)
        async with Reasoner(RunOptions(), open_model=open_model) as reasoner:
            gate = Gateway(app_of(reasoner), reasoner, Pair(), load)
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    content = [
                        {"type": "image_url", "image_url": {"url": uri}},
                        {"type": "text", "text": "What do tea and milk cost together?"},
                    ]
                    answer = await gate.ask(asked(content))
                    assert answer.status == 200, answer.body

                tasks.start_soon(ask)
                with anyio.fail_after(20):
                    await begun.wait()
                assert (await gate.get("/health")).status == 200
                answered.set()

    anyio.run(main)
    assert len(target.data) == len(draft.data) == 1
    assert target.data == draft.data
