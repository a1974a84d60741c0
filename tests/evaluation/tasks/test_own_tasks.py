"""Custom tasks: registered loaders, parquet files and JSON Lines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dreamr_testbed.suites import make_problem

from dreamr._option_specs import BadOption
from dreamr._plugins import import_plugins
from dreamr.conversation import Audio, Document, Image, Video
from dreamr.evaluation.tasks import (
    BadData,
    Item,
    Items,
    NoData,
    Places,
    Split,
    TaskError,
    add_task,
    load,
)
from dreamr.evaluation.tasks.registry import _ADDED as ADDED
from support.attachments import kinds, pdf, wav
from support.media_files import clip

EXAMPLE = Path(__file__).parents[3] / "examples" / "timesheet.py"


def png() -> bytes:
    import io

    file = io.BytesIO()
    make_problem("vqa", "test", 1).image.save(file, "PNG")
    return file.getvalue()


def write_table(path: Path, **columns: list[object]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_the_example_task_is_registered_by_its_import() -> None:
    import_plugins(str(EXAMPLE))
    import_plugins(str(EXAMPLE))  # a second time changes nothing
    items = load("timesheet", limit=5, seed=3)
    assert [item.index for item in items] == [3, 4, 5, 6, 7]
    for item in items:
        right = [number for number in range(25) if item.right(f"Answer: {number}")]
        assert len(right) == 1
        assert len(item.conversation.images) == 1
    training = load("timesheet", limit=5, seed=3, split="train")
    assert training[0].conversation != items[0].conversation


def test_a_taken_name_is_refused() -> None:
    def none(limit: int, seed: int, split: Split) -> Items:
        return Items((), lambda index: pytest.fail("nothing is asked for"))

    try:
        add_task("none", none)
        assert len(load("none")) == 0
        for name in ("none", "vqa"):
            with pytest.raises(TaskError, match=f"a task '{name}' already exists"):
                add_task(name, lambda limit, seed, split: Items((), item_of_nothing))
    finally:
        ADDED.pop("none", None)


def item_of_nothing(index: int) -> Item:
    raise AssertionError(index)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "No such file or directory"),
        ("def (:\n", "invalid syntax"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("raise RuntimeError('first line\\nsecond line')\n", "first line"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_one_line_that_names_it(
    source: str | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "plugin.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(BadOption) as error:
        import_plugins(str(path))
    assert str(error.value).startswith(f"plugin '{path}' cannot be imported: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_module_is_named() -> None:
    with pytest.raises(BadOption, match="plugin 'no_such_module' cannot be imported"):
        import_plugins("no_such_module")


def test_a_parquet_file_is_a_task(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "mine.parquet",
        image=[{"bytes": png()}, None],
        question=["How many?", "What is 3 + 4?"],
        answer=["1,200", "7"],
    )
    first, second = load(path)
    assert (first.task, first.kind, first.id) == (path, "mine", "0")
    assert len(first.conversation.images) == 1
    assert not second.conversation.images
    assert first.right("It is so.\n\nAnswer: 1200")
    assert second.right("Answer: seven")
    assert not second.right("Answer: 8")
    assert second.read("Answer: 8.") == "8"


def test_a_file_without_an_image_column_is_named_with_the_missing_column(tmp_path: Path) -> None:
    path = write_table(tmp_path / "text.parquet", question=["?"], answer=["!"])
    with pytest.raises(BadData) as error:
        load(path)
    needed = "this task needs the columns attachments or image, question, answer"
    assert str(error.value) == f"{path} has no column attachments or image: {needed}"


def test_a_row_with_a_broken_image_is_named_with_its_file(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "mine.parquet",
        image=[{"bytes": png()}, {"bytes": b"not an image"}],
        question=["How many?"] * 2,
        answer=["1"] * 2,
    )
    items = load(path)
    assert items[0].conversation.images
    with pytest.raises(BadData) as error:
        items[1]
    assert str(error.value).startswith(f"{path}: row 1: ")
    assert "\n" not in str(error.value)


def lines(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a file of each kind."""
    (tmp_path / "photo.png").write_bytes(png())
    (tmp_path / "bill.pdf").write_bytes(pdf(10, 20, 30))
    (tmp_path / "question.wav").write_bytes(wav())
    (tmp_path / "clip.mp4").write_bytes(clip())
    return tmp_path


def test_lines_name_attachments_of_every_kind_beside_the_file(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["photo.png", "bill.pdf", "clip.mp4", "question.wav"]
    path = lines(
        files / "mine.jsonl",
        {"question": "How many?", "answer": 1200, "attachments": names},
        {"question": "Which?", "answer": "a", "image": "photo.png"},
        {"question": "What is 3 + 4?", "answer": "7", "attachments": None},
    )
    monkeypatch.chdir("/")  # paths are those of the file's folder
    first, second, third = load(path)
    assert kinds(first.conversation) == ["Image", "Document", "Video", "Audio", "Text"]
    assert [part.name for part in first.conversation.turns[-1].parts[:-1]] == names  # type: ignore[union-attr]
    assert (first.task, first.index, first.id, first.kind) == (path, 0, "0", "mine")
    assert first.right("Answer: 1,200")
    assert kinds(second.conversation) == ["Image", "Text"]
    assert third.conversation.text.startswith("What is 3 + 4?")
    assert first.conversation == load(path)[0].conversation


def test_a_line_says_what_is_read_and_where_the_answer_is(files: Path) -> None:
    places = {"pages": [2], "times": [[1, 2]]}
    read = {"pages": "2-3", "frames": 2, "sound": False}
    path = lines(
        files / "mine.jsonl",
        {
            "question": "What is due?",
            "answer": "1",
            "attachments": ["bill.pdf", "clip.mp4"],
            "places": places,
            "read": read,
        },
        {"question": "?", "answer": "1", "attachments": "bill.pdf"},
    )
    one, other = load(path)
    document, video, _ = one.conversation.turns[-1].parts
    assert isinstance(document, Document)
    assert isinstance(video, Video)
    assert [page.number for page in document.pages] == [2, 3]
    assert len(video.frames) == 2
    assert video.sound is None
    assert one.places == Places(frozenset({2}), ((1.0, 2.0),))
    assert other.places == Places()


def test_a_question_can_be_spoken(files: Path) -> None:
    path = lines(
        files / "mine.jsonl", {"question": None, "answer": "1", "attachments": ["question.wav"]}
    )
    [item] = load(path)
    assert kinds(item.conversation) == ["Audio", "Text"]
    assert item.conversation.text.startswith("Reason step by step")


@pytest.mark.parametrize(
    ("instruction", "text"),
    [("", "Due?"), ("Think aloud.", "Due?\n\nThink aloud."), (None, "Due?\n\nReason step by")],
)
def test_an_instruction_replaces_the_request_to_reason(
    tmp_path: Path, instruction: str | None, text: str
) -> None:
    row = {"question": "Due?", "answer": "1", "image": None, "instruction": instruction}
    [item] = load(lines(tmp_path / "mine.jsonl", row))
    asked = item.conversation.text
    assert asked == text if instruction is not None else asked.startswith(text)


def test_parquet_files_have_attachments_too(files: Path) -> None:
    embedded = {"bytes": pdf(10, 20), "path": "folder/bill.pdf"}
    by_path = {"bytes": None, "path": "question.wav"}
    path = write_table(
        files / "mine.parquet",
        attachments=[[embedded], [by_path], []],
        question=["?"] * 3,
        answer=["1"] * 3,
        places=[{"pages": [2], "times": None}, None, None],
        read=[{"pages": "2"}, None, None],
    )
    document, sound, none = load(path)
    [shown, _] = document.conversation.turns[-1].parts
    assert isinstance(shown, Document)
    assert (shown.name, [page.number for page in shown.pages]) == ("bill.pdf", [2])
    assert document.places.pages == {2}
    assert isinstance(sound.conversation.turns[-1].parts[0], Audio)
    assert kinds(none.conversation) == ["Text"]


ROW = {"question": "?", "answer": "1", "attachments": ["bill.pdf"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "?", "answer": "1"}, ", line 2 has no column attachments or image: this"),
        ([1], ", line 2 is not a JSON object"),
        ({**ROW, "attachments": ["no.pdf"]}, ": line 2: there is no file "),
        ({**ROW, "attachments": [""]}, ": line 2 has an attachment without data"),
        ({**ROW, "attachments": [3]}, ": line 2 has an attachment without data"),
        ({**ROW, "attachments": [["bill.pdf"]]}, ": line 2 has an attachment without data"),
        ({**ROW, "attachments": ["mine.jsonl"]}, ": line 2: "),
        ({**ROW, "instruction": 3}, ": line 2: the instruction must be text, not 3"),
        ({**ROW, "question": "", "instruction": ""}, ": line 2: the question is empty"),
        ({**ROW, "question": "\ud800"}, ": line 2: the text contains half of a character"),
        ({**ROW, "answer": None}, ": line 2 has no answer: "),
        ({**ROW, "answer": " \n"}, ": line 2 has no answer: "),
        ({**ROW, "answer": "."}, ": line 2 has no answer: "),
        ({**ROW, "answer": math.nan}, ": line 2 has no answer: "),
        (
            {**ROW, "places": {"page": 2}},
            ": line 2: places must be an object with pages, times, images",
        ),
        ({**ROW, "read": {"page": "2"}}, ": line 2: read must be an object with pages, pdf_text"),
        ({**ROW, "read": {"pages": "0"}}, ": line 2: read cannot be used: "),
        ({**ROW, "read": {"pages": 2}}, ": line 2: read cannot be used: "),
        ({**ROW, "read": {"pages": "9"}}, ": line 2: "),
        ({**ROW, "read": {"frames": "8"}}, ": line 2: read cannot be used: frames must be"),
        ({**ROW, "read": {"sound": "no"}}, ": line 2: read cannot be used: sound must be"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_its_file(
    files: Path, row: Any, message: str
) -> None:
    path = lines(files / "mine.jsonl", ROW, row)
    items = load(path)
    assert items[0].conversation
    with pytest.raises(BadData) as error:
        items[1]
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_a_missing_answer_of_a_parquet_file_is_named(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "mine.parquet",
        image=[None] * 3,
        question=["?"] * 3,
        answer=[1.0, None, math.nan],
    )
    items = load(path)
    assert items[0].right("Answer: 1")
    for place in (1, 2):
        with pytest.raises(BadData, match=rf"mine\.parquet: row {place} has no answer: "):
            items[place]


def test_the_answer_nan_is_text(tmp_path: Path) -> None:
    row = {"question": "What is 0 / 0 in Python?", "answer": "NaN", "image": None}
    [item] = load(lines(tmp_path / "mine.jsonl", row))
    assert item.right("Answer: nan")
    assert not item.right("")
    assert not item.right("Answer: 0")


def test_blank_lines_do_not_count_and_broken_ones_are_named(files: Path) -> None:
    path = files / "mine.jsonl"
    path.write_text(f"\n{json.dumps(ROW)}\n\n{{broken\n\xff\n", encoding="latin-1")
    items = load(str(path))
    assert (len(items), items[0].index) == (3, 0)
    for place, number in ((1, 4), (2, 5)):
        with pytest.raises(BadData, match=rf"line {number} is not valid JSON: each problem is"):
            items[place]


def test_a_file_that_does_not_exist_or_is_empty_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="does not exist"):
        load(str(tmp_path / "none.jsonl"))
    assert len(load(lines(tmp_path / "empty.jsonl"))) == 0


def test_a_limit_draws_problems_of_a_file_by_its_seed(files: Path) -> None:
    path = lines(files / "mine.jsonl", *({**ROW, "answer": n} for n in range(9)))
    assert [item.index for item in load(path, limit=3, seed=1)] == [
        item.index for item in load(path, limit=3, seed=1)
    ]
    assert len(load(path, limit=3)) == 3


def test_images_stay_as_they_are_in_the_file(files: Path) -> None:
    [item] = load(lines(files / "mine.jsonl", {**ROW, "attachments": ["photo.png"]}))
    [image, _] = item.conversation.turns[-1].parts
    assert isinstance(image, Image)
    assert image.data == (files / "photo.png").read_bytes()
