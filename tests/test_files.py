"""Files are read and written with errors of one line that name the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dreamr._files import read_json
from dreamr._output_files import replace_file, writing
from dreamr.errors import DreamrError, Unwritable


class BadFile(DreamrError):
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ", line 1, column 1: not valid JSON: expecting value"),
        (b'{\n  "a": 1,\n  b\n}', ", line 3, column 3: not valid JSON: expecting property name"),
        (b'{"a": 1', ", line 1, column 8: not valid JSON: expecting ',' delimiter"),
        (b"{} {}", ", line 1, column 4: not valid JSON: extra data"),
        (b'{\n"a": "\x80"}', ", line 2: not UTF-8 text"),
        (b"[" * 100_000, ": a number or the nesting is too long"),
        (b'{"a": ' + b"1" * 10_000 + b"}", ": a number or the nesting is too long"),
        (b"[1]", ": must be a JSON object, not a list"),
        (b"null", ": must be a JSON object, not null"),
        (b'"' + b"a" * 100 + b'"', ': must be a JSON object, not "aaaa'),
    ],
)
def test_broken_json_is_one_line_with_file_and_place(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(BadFile) as caught:
        read_json(path, "profile", BadFile)
    assert str(caught.value).startswith(f"profile {path}{message}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 100


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for path, reason in (
        (tmp_path / "none.json", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (loop, "Too many levels of symbolic links"),
        (tmp_path / "a\0b", "embedded null byte"),
    ):
        with pytest.raises(BadFile) as caught:
            read_json(path, "profile", BadFile)
        assert str(caught.value) == f"cannot read profile {path}: {reason}"


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    replace_file(path, b"old")

    def fail(*paths: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_line_with_advice(tmp_path: Path) -> None:
    with (
        pytest.raises(Unwritable, match=r"^cannot write .*: Is a directory; choose another file$"),
        writing(tmp_path),
    ):
        tmp_path.write_text("a")
