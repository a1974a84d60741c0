"""Files that cannot be read, and unusual ones that can, through each way to ask about them."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from dreamr import Conversation, Reasoner, RunOptions
from dreamr.cli import main
from dreamr.conversation import AttachmentError, flatten, read_attachment
from dreamr.conversation.decoding.pool import POOL
from support.attachments import pdf as scans
from support.attachments import png, wav
from support.gateways import Gateway, answer, asked, use
from support.media_files import (
    clip,
    encrypted_pdf,
    memory_bomb,
    pdf,
    png_bomb,
    sound_file,
    text_on_page,
    time_bomb,
    tone,
)
from support.pairs import RIGHT, Pair

QUESTION = "What is due?"
SEQUENTIAL = RunOptions(method="sequential")
PARTS = {"image": "image_url", "video": "video_url", "sound": "input_audio", "file": "file"}


class Bad(NamedTuple):
    """A file that cannot be read.

    Attributes:
        name: Its name.
        made: Returns its bytes.
        part: The part in which a client would send it.
        said: What the message must say beside the name.
    """

    name: str
    made: Callable[[], bytes]
    part: str
    said: str


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def claimed_seconds(seconds: int) -> bytes:
    """A WAV file whose head claims that many seconds; 1,900 of them are there."""
    rate = 1000
    head = bytearray(tone(0, rate=rate))
    head[4:8] = struct.pack("<I", min(36 + 2 * rate * seconds, 2**32 - 1))
    head[40:44] = struct.pack("<I", min(2 * rate * seconds, 2**32 - 1))
    return bytes(head) + bytes(2 * rate * min(seconds, 1900))


def unknown_codec() -> bytes:
    data = bytearray(clip(3))
    place = data.index(b"avc1", data.index(b"stsd"))
    data[place : place + 4] = b"zzzz"
    return bytes(data)


def billion_frames() -> bytes:
    """An MP4 file whose tables claim a billion frames."""
    data = bytearray(clip(5))
    for table in (b"stts", b"stsz"):
        place = data.index(table) + 12
        data[place : place + 4] = struct.pack(">I", 10**9)
    return bytes(data)


def enormous_frames() -> bytes:
    """A video whose frames have more pixels than are read, by its head."""
    height = b"\xba\x82"  # as a number of two bytes
    data = clip(1, size=(8208, 256), container="matroska", codec="ffv1")
    assert height + b"\x01\x00" in data
    return data.replace(height + b"\x01\x00", height + b"\x20\x10")  # 8208


SAVE = "copy or save it again"
BAD = (
    Bad("empty.pdf", bytes, "file", "is empty"),
    Bad("empty.mp4", bytes, "video", "is empty"),
    Bad("empty.ogg", bytes, "sound", "is empty"),
    Bad("cut.pdf", lambda: cut(encrypted_pdf(), 0.1), "file", SAVE),
    Bad("cut.mp4", lambda: cut(clip(20), 0.3), "video", SAVE),
    Bad("cut.mkv", lambda: cut(clip(20, container="matroska"), 0.02), "video", SAVE),
    Bad("cut.ogg", lambda: cut(sound_file("ogg", "libopus", 2), 0.01), "sound", SAVE),
    Bad("zeros.pdf", lambda: bytes(5000), "file", "is not of a known kind: accepted are images"),
    Bad("notes.pdf", lambda: b"tea 2.50\n" * 9, "file", "put the text into the question"),
    Bad("page.mp4", lambda: b"<!doctype html>\n<p>404</p>", "video", "is text, which is not"),
    Bad("table.xlsx", lambda: b"PK\3\4" + bytes(999), "file", "is not of a known kind"),
    Bad("locked.pdf", encrypted_pdf, "file", "protected by a password: save a copy without one"),
    Bad("none.pdf", pdf, "file", "save it again"),
    Bad("billion.mp4", billion_frames, "video", SAVE),
    Bad("codec.mp4", unknown_codec, "video", "in a codec that cannot be decoded: convert it"),
    Bad("large.mkv", enormous_frames, "video", "save it in a smaller size"),
    Bad(
        "long.wav", lambda: claimed_seconds(36_000), "sound", "lasts longer than 30 minutes: cut it"
    ),
    Bad("none.wav", lambda: tone(0), "sound", "has no sound in it: record it again"),
    Bad("bomb.png", partial(png_bomb, 20_000), "image", "save a smaller copy"),
    Bad("memory.pdf", partial(memory_bomb, 1500), "file", "choose fewer pages or frames"),
)
each = pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])


def checked(message: str, bad: Bad) -> None:
    assert bad.said in message
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 400


@each
def test_the_command_line_says_in_one_line_what_to_do(
    bad: Bad, pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / bad.name
    path.write_bytes(bad.made())
    assert main(["run", QUESTION, "-a", str(path)], open_model=pair) == 1
    output, shown = capsys.readouterr()
    assert output == ""
    assert bad.name in shown
    checked(shown.removesuffix("\n"), bad)
    assert pair.opened == {}


@each
def test_a_reasoner_raises_what_to_do_and_answers_the_next_question(
    bad: Bad, pair: Pair, tmp_path: Path
) -> None:
    path = tmp_path / bad.name
    path.write_bytes(bad.made())
    with Reasoner(SEQUENTIAL, open_model=pair) as reasoner:
        for attachment in (path, path.read_bytes()):
            with pytest.raises(AttachmentError) as found:
                reasoner.ask(QUESTION, attachment)
            checked(str(found.value), bad)
        assert reasoner.ask(QUESTION, png()).answer == "3.70"


@each
def test_the_gateway_answers_what_to_do_and_goes_on(bad: Bad) -> None:
    async def work(gate: Gateway) -> None:
        data = bad.made()
        for kind in {bad.part, "file"}:
            found = await gate.ask(asked([content(kind, data, bad.name), text(QUESTION)]))
            assert found.status == 400
            error = found.json["error"]
            assert error["code"] == f"invalid_{kind}"
            assert error["param"].startswith("messages.0.content.0")
            checked(error["message"], bad)
        assert (await gate.ask(asked())).status == 200

    use(work, bound=60)


def content(kind: str, data: bytes, name: str) -> dict[str, Any]:
    """A part of a message."""
    encoded = b64encode(data).decode()
    match kind:
        case "sound":
            value: dict[str, Any] = {"data": encoded}
        case "file":
            value = {"filename": name, "file_data": encoded}
        case _:
            value = {"url": f"data:application/octet-stream;base64,{encoded}"}
    return {"type": PARTS[kind], PARTS[kind]: value}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


# Unusual files that are read. Name, bytes, and the numbers of images and of sounds.
UNUSUAL: dict[str, tuple[Callable[[], bytes], int, int]] = {
    "png.pdf": (png, 1, 0),
    "pdf.mp4": (lambda: pdf(text_on_page("Total 5")), 1, 0),
    "mp4.jpg": (lambda: clip(4), 4, 0),
    "wav.png": (lambda: wav(0.5), 0, 1),
    "scans.pdf": (lambda: scans(9, 200), 2, 0),
    "pages.pdf": (lambda: pdf(*[b""] * 10_000), 8, 0),
    "meters.pdf": (lambda: pdf(text_on_page("far"), size=(283_465, 283_465)), 1, 0),
    "frame.mp4": (lambda: clip(1), 1, 0),
    "silence.wav": (lambda: tone(1, volume=0), 0, 1),
    "short.wav": (lambda: wav(0.001), 0, 1),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_files_are_read_in_each_way(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, images, sounds = UNUSUAL[name]
    path, seen = tmp_path / name, list[Conversation]()
    path.write_bytes(made())

    def script(context: Any) -> str:
        seen.append(context.conversation)
        return "".join(RIGHT[len(context.prefix) :])

    argv = ["run", QUESTION, "--method", "target", "-a", str(path)]
    assert main(argv, open_model=Pair(target={"script": script})) == 0
    assert capsys.readouterr().out == "3.70\n"
    with Reasoner(RunOptions(method="target"), open_model=Pair(target={"script": script})) as it:
        assert it.ask(QUESTION, path.read_bytes()).answer == "3.70"
    body = asked([content("file", path.read_bytes(), name), text(QUESTION)])
    assert answer(body, Pair(target={"script": script})).status == 200
    assert [(len(one.images), len(one.sounds)) for one in seen] == [(images, sounds)] * len(seen)
    assert len(seen) >= 3


def test_an_image_part_with_a_file_of_another_kind_says_which_part_to_use() -> None:
    for data in (pdf(text_on_page("Total 5")), wav(), clip(2)):
        found = answer(asked([content("image", data, ""), text(QUESTION)]))
        assert found.status == 400
        assert "send it as file" in found.json["error"]["message"]


@pytest.mark.slow
def test_hostile_files_at_once_leave_room_for_others() -> None:
    # One takes seconds; that it may not take ten is tested in conversation/decoding/test_pool.py.
    bombs = [memory_bomb(1500)] * 4 + [time_bomb(60_000)]

    async def work(gate: Gateway) -> None:
        found: list[int] = []

        async def ask(data: bytes) -> None:
            body = asked([content("file", data, "bomb.pdf"), text(QUESTION)])
            found.append((await gate.ask(body)).status)

        async with anyio.create_task_group() as tasks:
            for bomb in bombs:
                tasks.start_soon(ask, bomb)
            plain = await gate.ask(asked())  # not behind the files
            assert plain.status == 200
            assert len(found) < len(bombs)
        assert set(found) <= {200, 400, 503}
        assert found.count(200) <= 1
        body = asked([content("file", pdf(text_on_page("ok")), "ok.pdf"), text(QUESTION)])
        assert (await gate.ask(body)).status == 200

    use(work, bound=200)


@pytest.mark.slow
def test_threads_that_read_hostile_files_are_bounded_in_processes() -> None:
    bomb, most = memory_bomb(1500), list[int]()

    def read(number: int) -> int:
        data = pdf(text_on_page(f"page {number}")) if number % 8 else bomb
        try:
            found = len(flatten(Conversation.from_prompt("?", read_attachment(data))).images)
        except AttachmentError:
            found = 0
        most.append(len(POOL.processes))
        return found

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, range(16))) == [0, 1, 1, 1, 1, 1, 1, 1] * 2
    assert max(most) <= POOL._most
