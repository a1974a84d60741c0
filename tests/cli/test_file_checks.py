"""No input is written over, by whatever name it goes, and no two outputs share a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from dreamr.cli import main
from support.pairs import Pair
from support.processes import SEQUENTIAL, shell


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "receipt.png"
    PIL.Image.new("RGB", (8, 8), "white").save(path)
    return path


def itself(path: Path) -> str:
    return str(path)


def relative(path: Path) -> str:
    return os.path.relpath(path)


def roundabout(path: Path) -> str:
    return f"{path.parent}/../{path.parent.name}/./{path.name}"


def symbolic(path: Path) -> str:
    (link := path.with_name("link.png")).symlink_to(path)
    return str(link)


def hard(path: Path) -> str:
    (link := path.with_name("link.png")).hardlink_to(path)
    return str(link)


def linked_folder(path: Path) -> str:
    (link := path.with_name("folder")).symlink_to(path.parent)
    return str(link / path.name)


NAMES = [itself, relative, roundabout, symbolic, hard, linked_folder]


@pytest.mark.parametrize("flag", ["--html", "--trace", "--record"])
@pytest.mark.parametrize("name", NAMES)
def test_an_attached_image_is_never_written_over(
    name: Callable[[Path], str],
    flag: str,
    image: Path,
    pair: Pair,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = image.read_bytes()
    assert main([*SEQUENTIAL, "-a", str(image), flag, name(image)], open_model=pair) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "would overwrite the file that --attach reads: name another file" in shown
    assert image.read_bytes() == before
    assert not pair.opened


@pytest.mark.parametrize(
    "line",
    [
        "run q --profile IN --html IN",
        "run q --draft DIR --trace IN",
        "calibrate --plugin other,IN --out IN",
        "train record --plugin IN --out IN",
        "train measure --draft DIR --out IN",
        "train curves DIR --out DIR/log.csv",
    ],
)
def test_no_command_writes_over_what_it_reads(
    line: str, tmp_path: Path, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("settings.py", "log.csv"):
        (folder / name).write_text("step\n1\n")
    words = line.replace("IN", str(folder / "settings.py")).replace("DIR", str(folder))
    assert main(words.split(), open_model=pair) > 0
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.read_text() for path in folder.iterdir()} == {"step\n1\n"}


def test_a_plot_may_lie_in_the_folder_that_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "log.csv").write_text("step,reward\n1,0.5\n2,0.6\n")
    for _ in range(2):
        assert main(["train", "curves", str(tmp_path), "--out", str(tmp_path / "curves.png")]) == 0


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", [itself, relative, roundabout, linked_folder])
@pytest.mark.parametrize(("first", "second"), [("--trace", "--html"), ("--html", "--record")])
def test_two_outputs_of_one_file_are_refused(
    first: str,
    second: str,
    name: Callable[[Path], str],
    there: bool,
    tmp_path: Path,
    pair: Pair,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "out"
    if there:
        path.write_text("yesterday's")
    line = [*SEQUENTIAL, first, str(path), second, name(path)]
    assert main(line, open_model=pair) == 2
    assert "must name different files" in capsys.readouterr().err
    assert path.exists() == there


def test_the_null_device_takes_any_number_of_outputs(pair: Pair) -> None:
    line = [*SEQUENTIAL, "--trace", "/dev/null", "--html", "/dev/null", "--record", "/dev/null"]
    assert main(line, open_model=pair) == 0


def test_a_file_that_standard_output_goes_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for script, stream in (('"$@" > out', "standard output"), ('"$@" 2> out', "standard error")):
        done = shell(f"cd {tmp_path} && {script}", "--html", "out")
        assert done.returncode == 2
        assert f"--html and {stream} must be different files" in done.stderr + path.read_text()


def test_standard_output_can_be_named_as_a_file() -> None:
    done = shell('"$@"', "--trace", "/dev/stdout")
    first, *_, last = done.stdout.splitlines()
    assert done.returncode == 0
    assert first.startswith('{"event": "RunStarted"')
    assert last == "3.70"


def test_standard_output_in_a_file_keeps_trace_and_answer(tmp_path: Path) -> None:
    shell(f'"$@" > {tmp_path}/out', "--trace", "/dev/stdout")
    first, *_, last = (tmp_path / "out").read_text().splitlines()
    assert first.startswith('{"event": "RunStarted"')
    assert last == "3.70"
