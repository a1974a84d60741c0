"""Custom tasks: registered loaders and parquet files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dreamr_testbed.suites import make_problem

from dreamr._option_specs import BadOption
from dreamr._plugins import import_plugins
from dreamr.evaluation.tasks import BadData, Item, Items, Split, TaskError, add_task, load
from dreamr.evaluation.tasks.registry import _ADDED as ADDED

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
    needed = "this task needs the columns image, question, answer"
    assert str(error.value) == f"{path} has no column image: {needed}"


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
