"""Keys of clients, read from files that were written on any system."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr._option_specs import BadOption
from dreamr.serving.gateway.keys import VARIABLE, read_keys
from dreamr.serving.options import ServeOptions

TEXT = "# keys of the team\nsk-alice\n\n  # bob is away\n  sk-bob  \nsk-carol # since May\nsk-d#1\n"
KEYS = ("sk-alice", "sk-bob", "sk-carol", "sk-d#1")


def read(path: Path, content: bytes) -> tuple[str, ...]:
    path.write_bytes(content)
    return tuple(read_keys(ServeOptions(keys_file=str(path))))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_keys_are_read_from_the_files_of_any_system(
    tmp_path: Path, encoding: str, end: str
) -> None:
    content = TEXT.replace("\n", end).encode(encoding)
    assert read(tmp_path / "keys", content) == KEYS


def test_a_file_without_a_last_line_end_and_one_of_dos_are_complete(tmp_path: Path) -> None:
    assert read(tmp_path / "keys", b"sk-alice\r\nsk-bob") == KEYS[:2]
    assert read(tmp_path / "keys", b"sk-alice\r\nsk-bob\r\n\x1a") == KEYS[:2]


def test_a_key_that_is_listed_twice_is_one_key(tmp_path: Path) -> None:
    assert read(tmp_path / "keys", b"sk-alice\nBearer sk-alice\n'sk-alice'\n") == ("sk-alice",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "contains no key: write one key per line"),
        (b"\xef\xbb\xbf\n# none\n", "contains no key: write one key per line"),
        (b"sk-alice\xff\n", "it is not UTF-8 text"),
        (b"sk-alice\nsk s3cret\n", "line 2 contains a space: give the key alone, as issued"),
        ("sk-alice\nsk-s3cretключ\n".encode(), "line 2 contains a character that is not ASCII"),
        (b"sk-alice\n\x00s3cret\n", "line 2 contains a control character"),
        (b"#" * (2**20 + 1), "it is larger than 1 MB"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_without_keys(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(BadOption) as found:
        read(tmp_path / "keys", content)
    message = str(found.value)
    assert problem in message
    assert "--keys-file" in message
    assert "s3cret" not in message
    assert message.isprintable()


def test_a_missing_file_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"^cannot read --keys-file .*none: No such file"):
        read_keys(ServeOptions(keys_file=str(tmp_path / "none")))


def test_keys_of_the_environment_are_cleaned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, ' sk-alice, "sk-bob",sk-alice,\n')
    assert tuple(read_keys(ServeOptions())) == ("sk-alice", "sk-bob")
    monkeypatch.setenv(VARIABLE, "sk-alice,sk-s3cret ключ")
    with pytest.raises(BadOption, match=f"the API key in {VARIABLE} contains a space"):
        read_keys(ServeOptions())
