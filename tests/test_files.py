"""Files are read within bounds, with errors of one line that name the file."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from dreamr._files import open_binary, read_bytes, read_json
from dreamr.errors import DreamrError


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


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    (path := tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(path, "profile", BadFile) == {}


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def listening(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as link:
        link.bind(str(path))
    return path


def to_terminal(path: Path) -> Path:
    path.symlink_to("/dev/tty")
    return path


IRREGULAR = {
    "a pipe without a writer": pipe,
    "a socket": listening,
    "an endless device": lambda path: Path("/dev/zero"),
    "an empty device": lambda path: Path("/dev/null"),
    "a terminal": to_terminal,
    "a kernel log": lambda path: Path("/proc/kmsg"),
}


@pytest.mark.parametrize("made", IRREGULAR.values(), ids=IRREGULAR.keys())
def test_what_is_not_a_regular_file_is_refused_at_once(made: Any, tmp_path: Path) -> None:
    path = made(tmp_path / "file")
    if not os.path.lexists(path):
        pytest.skip("this system has no such file")
    with pytest.raises(OSError, match=r"not a regular file|Permission denied|No such device"):
        read_bytes(path)


def test_a_file_that_claims_to_be_empty_is_read_as_far_as_it_goes() -> None:
    assert b"Name:" in read_bytes(Path("/proc/self/status"))


@pytest.mark.parametrize("most", [0, 1, 99])
def test_no_more_than_the_bound_is_read(most: int, tmp_path: Path) -> None:
    (path := tmp_path / "file").write_bytes(bytes(100))
    with pytest.raises(OSError, match=f"100 bytes, more than {most}"):
        read_bytes(path, most=most)
    assert len(read_bytes(path, most=100)) == 100


def test_a_file_without_a_size_is_bounded_too() -> None:
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_bytes(Path("/proc/self/status"), most=10)


def test_a_pipe_of_the_shell_is_read_where_it_is_allowed() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"{}")
    os.close(writing)
    try:
        assert read_bytes(Path(f"/dev/fd/{reading}"), pipes=True) == b"{}"
    finally:
        os.close(reading)


def test_a_pipe_that_gives_nothing_is_left_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dreamr._files._SECONDS", 0.05)
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match=r"no end of the data within 0\.05 s"):
            read_bytes(Path(f"/dev/fd/{reading}"), pipes=True)
    finally:
        os.close(writing)  # ends the thread
        os.close(reading)
    assert all(thread.daemon for thread in threading.enumerate() if "dreamr" in thread.name)


def test_files_of_any_size_are_opened_but_nothing_else(tmp_path: Path) -> None:
    (path := tmp_path / "file").write_bytes(b"a\nb")
    with open_binary(path) as file:
        assert file.readlines() == [b"a\n", b"b"]
    for other in (tmp_path, pipe(tmp_path / "pipe"), Path("/dev/zero")):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            open_binary(other)
