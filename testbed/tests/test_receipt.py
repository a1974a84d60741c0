"""`python -m dreamr_testbed` writes the example receipt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dreamr_testbed import RECEIPT
from dreamr_testbed.__main__ import main
from PIL import ImageChops, ImageStat

from dreamr.conversation import Document, MediaOptions, read_attachment, read_image, to_pillow


def test_the_receipt_is_written_to_the_default_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dreamr_testbed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "receipt.png\n"
    assert (tmp_path / "receipt.png").read_bytes() == RECEIPT.read_bytes()


def test_the_receipt_is_written_to_a_given_file(tmp_path: Path) -> None:
    assert main([str(tmp_path / "mine.png")]) == 0
    assert (tmp_path / "mine.png").read_bytes() == RECEIPT.read_bytes()


def test_a_pdf_file_holds_the_receipt_as_its_page(tmp_path: Path) -> None:
    assert main([str(tmp_path / "mine.PDF")]) == 0
    document = read_attachment(tmp_path / "mine.PDF", MediaOptions(max_pixels=288 * 288))
    assert isinstance(document, Document)
    [page] = document.pages
    shown, receipt = to_pillow(page.image), to_pillow(read_image(RECEIPT))
    assert shown.size == receipt.size
    difference = ImageStat.Stat(ImageChops.difference(shown, receipt)).mean
    assert max(difference) < 4


def test_an_existing_file_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "mine.png").write_text("important")
    assert main([str(file)]) == 1
    assert file.read_text() == "important"
    assert capsys.readouterr().err == f"{file} already exists: name another file\n"


def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "mine.png"
    assert main([str(file)]) == 1
    expected = f"cannot write {file}: No such file or directory; name another file\n"
    assert capsys.readouterr().err == expected


def test_help_names_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "Default: receipt.png." in capsys.readouterr().out
