"""Records are appended whole to files of records, and no other file is changed."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr import Conversation
from dreamr.errors import Unwritable
from dreamr.training import BadTraining, Record, RecordFile, Records, to_line
from dreamr.training.records import Recorded, Rejected

GOOD = Record(
    "vqa/1",
    "fpsr",
    Conversation.from_prompt("What is it?"),
    (Recorded("One.\n\n", "draft"), Recorded("Answer: 1", "target")),
    (Rejected(1, "Answer: 2"),),
    True,
)
START = b'{"version": 1, "name": "'
LINE = to_line(GOOD).encode()


@pytest.mark.parametrize("before", [b"", LINE + b"\n", LINE + b"\n" + LINE + b"\n"])
@pytest.mark.parametrize("kept", [13, 25, len(LINE) // 2, len(LINE) - 1])
def test_an_incomplete_last_line_of_a_record_file_is_removed(
    before: bytes, kept: int, tmp_path: Path
) -> None:
    (file := tmp_path / "records.jsonl").write_bytes(before + LINE[:kept])
    with RecordFile(file):
        assert file.read_bytes() == before


@pytest.mark.parametrize("before", [b"", LINE + b"\n"])
def test_a_last_record_without_its_line_feed_is_kept(before: bytes, tmp_path: Path) -> None:
    (file := tmp_path / "records.jsonl").write_bytes(before + LINE)
    with RecordFile(file):
        assert file.read_bytes() == before + LINE + b"\n"


OTHERS = {
    "text": b"important",
    "text with a line feed": b"important\n",
    "text whose last line is not complete": b"first\nimportant",
    "text that ends like a record": b"important\n" + LINE[:40],
    "records and then text": LINE + b"\nimportant",
    "another JSON document": b'{"version": 3, "lockfileVersion": 3}',
    "another JSON document in lines": b'{"version": 3}\n{"version": 3}\n',
    "the first character of any JSON": b"{",
    "a line feed": b"\n",
    "a record with a byte order mark": b"\xef\xbb\xbf" + LINE + b"\n",
    "a record of a later version": LINE.replace(b'"version": 1', b'"version": 2') + b"\n",
    "a list": b"[]\n",
    "an image": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS.keys())
def test_a_file_of_anything_but_records_is_refused_and_left_as_it_is(
    content: bytes, tmp_path: Path
) -> None:
    (file := tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(BadTraining, match=r"notes\.txt holds other text than records"):
        RecordFile(file)
    assert file.read_bytes() == content


@given(content=st.binary(max_size=60), kept=st.integers(0, 40), whole=st.booleans())
def test_nothing_but_the_beginning_of_a_record_is_ever_removed(
    content: bytes, kept: int, whole: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = (LINE + b"\n" if whole else b"") + LINE[:kept] + content
    file = tmp_path_factory.mktemp("any") / "file"
    file.write_bytes(before)
    with suppress(BadTraining), RecordFile(file):
        pass
    after = file.read_bytes()
    removed = before[len(after) :]
    assert before.startswith(after)
    assert removed.startswith(START) or START.startswith(removed)


def test_a_full_disk_leaves_the_records_whole(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    with RecordFile(file) as records:
        records.add(GOOD)
        limited = len(LINE) + 50
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limited, before[1]))
        try:
            with pytest.raises(Unwritable, match=r"cannot write .*records\.jsonl: File too large"):
                records.add(GOOD)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_bytes() == LINE + b"\n"


def test_a_new_file_to_which_nothing_was_added_is_removed(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "records.jsonl"):
        pass
    assert not list(tmp_path.iterdir())


def test_records_can_go_to_a_pipe_or_a_device() -> None:
    with RecordFile(Path("/dev/null")) as records:
        records.add(GOOD)


def test_one_recording_at_a_time_has_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamr.training.record_file._PATIENCE", 0)
    file = tmp_path / "records.jsonl"
    with RecordFile(file, alone=True) as records:
        records.add(GOOD)
        with pytest.raises(Unwritable, match="another process is writing to it"):
            RecordFile(file)
    assert len(Records([file])) == 1
