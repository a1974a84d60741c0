"""`python -m dreamr_testbed FILE --suite NAME` writes drawn problems."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dreamr_testbed.__main__ import main
from dreamr_testbed.suites import make_problem
from PIL import Image

from dreamr.conversation import Audio, Document, MediaOptions, Video, read_attachment


def test_several_images_are_numbered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = make_problem("docmath-hard", "test", 4, 2)
    arguments = ["--suite", "docmath-hard", "--index", "4", "--level", "2"]
    assert main([str(tmp_path / "x.png"), *arguments]) == 0
    count = len(problem.images)
    files = [tmp_path / f"x-{number}.png" for number in range(1, count + 1)]
    assert capsys.readouterr().out.splitlines() == [
        *map(str, files), problem.question, problem.final,
    ]  # fmt: skip
    for file, image in zip(files, problem.images, strict=True):
        with Image.open(file) as written:
            assert written.tobytes() == image.tobytes()


def test_nothing_is_written_if_one_of_the_files_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x-2.png").touch()
    arguments = ["--suite", "docmath-hard", "--index", "4"]
    assert main([str(tmp_path / "x.png"), *arguments]) == 1
    assert f"{tmp_path / 'x-2.png'} already exists: name another file" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["x-2.png"]


def test_one_image_keeps_its_name(tmp_path: Path) -> None:
    assert main([str(tmp_path / "x.png"), "--suite", "vqa"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_pages_become_a_pdf_file(tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    assert main([str(tmp_path / "x.pdf"), "--suite", "pages-hard", "--index", "1"]) == 0
    document = read_attachment(tmp_path / "x.pdf")
    assert isinstance(document, Document)
    assert document.count == len(make_problem("pages-hard", "test", 1).images)


def test_frames_become_a_video_file(tmp_path: Path) -> None:
    pytest.importorskip("av")
    assert main([str(tmp_path / "x.mp4"), "--suite", "clip"]) == 0
    video = read_attachment(tmp_path / "x.mp4", MediaOptions(frames=4))
    assert isinstance(video, Video)
    assert video.seconds == pytest.approx(len(make_problem("clip", "test", 0).images))


@pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")
def test_a_spoken_question_becomes_a_sound(tmp_path: Path) -> None:
    assert main([str(tmp_path / "x.png"), "--suite", "spoken"]) == 0
    sound = read_attachment(tmp_path / "x.wav")
    assert isinstance(sound, Audio)
    assert sound.seconds > 1


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("x.pdf", ["--suite", "clip"], "x.pdf must end in .mp4 or .png for a problem of clip"),
        ("x.mp4", ["--suite", "vqa"], "x.mp4 must end in .png for a problem of vqa"),
        ("x.png", ["--suite", "chess"], "no suite 'chess'; known: docmath, story, vqa"),
        ("x.png", ["--suite", "vqa", "--index", "-1"], "--index must be at least 0, not -1"),
        ("x.png", ["--level", "2"], "add --suite"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, arguments: list[str], said: str
) -> None:
    assert main([str(tmp_path / name), *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
