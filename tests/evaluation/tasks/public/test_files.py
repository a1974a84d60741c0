"""Files of published benchmarks: a file, a folder, the hub."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from dreamr.evaluation.tasks import BadData, NoData, load
from dreamr.evaluation.tasks.public.rows import Rows
from support.published import MMMU, REALWORLDQA, color_of, mmmu, stored_image, write

COLORS = {"red": (255, 0, 0), "blue": (0, 0, 255), "lime": (0, 255, 0)}


def asked(color: str, question: str = "How many?", answer: str = "1") -> dict[str, object]:
    return {"image": stored_image(color), "question": question, "answer": answer}


def test_rows_of_several_files_are_one_sequence_in_groups(tmp_path: Path) -> None:
    rows = [asked("red", str(number)) for number in range(7)]
    files = [
        write(tmp_path / "a.parquet", REALWORLDQA, rows[:5]),
        write(tmp_path / "b.parquet", REALWORLDQA, rows[5:]),
    ]
    read = Rows(files, ["question"])
    assert len(read) == 7
    assert [read[index]["question"] for index in (6, 0, 5, 4, 3)] == ["6", "0", "5", "4", "3"]
    assert [row["question"] for row in read.columns("question")] == list("0123456")
    with pytest.raises(IndexError):
        read[7]


def test_a_file_is_taken_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "some.parquet", REALWORLDQA, [asked("red"), asked("blue")])
    items = load("realworldqa", source=path)
    assert [color_of(item.conversation.images[0]) for item in items] == [
        COLORS["red"],
        COLORS["blue"],
    ]


def test_a_folder_may_have_the_layout_of_the_hub(tmp_path: Path) -> None:
    for subject, split in (("Music", "validation"), ("Art", "validation"), ("Art", "test")):
        name = f"{subject}/{split}-00000-of-00001.parquet"
        write(tmp_path / name, MMMU, [mmmu(id=f"{split}_{subject}_1")])
    assert [item.kind for item in load("mmmu", source=tmp_path)] == ["Art", "Music"]


def test_a_folder_may_contain_the_splits_files_directly(tmp_path: Path) -> None:
    for part in (0, 1):
        write(tmp_path / f"test-0000{part}-of-00002.parquet", REALWORLDQA, [asked("red")])
    write(tmp_path / "train-00000-of-00001.parquet", REALWORLDQA, [asked("red")])
    assert len(load("realworldqa", source=tmp_path)) == 2


def test_a_folder_without_the_split_is_named_with_the_files_it_needs(tmp_path: Path) -> None:
    with pytest.raises(
        NoData, match=r"contains no testmini\.parquet or testmini-\*\.parquet: name"
    ):
        load("mathverse", source=tmp_path)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoData, match=r"gone does not exist: check the path"):
        load("mathverse", source=tmp_path / "gone")


@pytest.mark.parametrize("content", [b"", b"not a parquet file", b"PAR1 and no more PAR1"])
def test_a_file_that_is_not_parquet_is_one_line_that_names_it(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "test.parquet"
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"test\.parquet cannot be read as parquet: .") as caught:
        load("realworldqa", source=path)
    assert "\n" not in str(caught.value)


def test_a_damaged_row_group_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "test.parquet", REALWORLDQA, [asked("red"), asked("blue")])
    data = path.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    path.write_bytes(data[:4] + b"\xff" * (len(data) - footer - 4) + data[-footer:])
    items = load("realworldqa", source=path)  # the footer is intact
    with pytest.raises(BadData, match=r"test\.parquet cannot be read as parquet: .") as caught:
        items[0]
    assert "\n" not in str(caught.value)


def test_the_file_of_another_task_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "test.parquet", REALWORLDQA, [asked("red")])
    with pytest.raises(
        BadData, match="has no column id, image_1, options, question_type: this task"
    ):
        load("mmmu", source=path)


@pytest.mark.parametrize("image", [None, {"bytes": None, "path": "a.png"}, {"bytes": b"no"}])
def test_a_row_without_a_valid_image_is_named_with_its_file(tmp_path: Path, image: object) -> None:
    path = write(
        tmp_path / "a.parquet", REALWORLDQA, [asked("red"), asked("red") | {"image": image}]
    )
    items = load("realworldqa", source=path)
    assert items[0].conversation.images
    with pytest.raises(BadData, match=r"a\.parquet: realworldqa 1"):
        items[1]


def test_a_limit_draws_the_same_problems_for_the_same_seed_in_the_files_order(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.parquet", REALWORLDQA, [asked("red") for _ in range(40)])
    drawn = [
        tuple(load("realworldqa", limit=5, seed=seed, source=path).numbers) for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(list(numbers) == sorted(numbers) for numbers in drawn)
    assert len(load("realworldqa", limit=100, source=path)) == 40


def test_a_larger_limit_draws_the_same_problems_and_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", REALWORLDQA, [asked("red") for _ in range(100)])
    drawn = [set(load("realworldqa", limit=n, source=path).numbers) for n in range(1, 101, 3)]
    assert all(less < more for less, more in pairwise(drawn))


def test_if_the_hub_cannot_be_reached_the_error_says_what_to_pass(tmp_path: Path) -> None:
    code = (
        "from dreamr.evaluation.tasks import NoData, load\n"
        "try:\n    load('realworldqa')\nexcept NoData as error:\n    print(error)"
    )
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=offline
    )
    assert done.stdout.startswith("xai-org/RealworldQA cannot be fetched from the Hugging Face hub")
    assert done.stdout.endswith("name its folder or a parquet file as the source\n")
    assert done.stdout.count("\n") == 1


def test_drawn_tasks_need_no_parquet_library() -> None:
    code = (
        "import sys; from dreamr.evaluation.tasks import load; load('vqa', limit=1)[0]; "
        "print('pyarrow' in sys.modules, 'huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
