"""Tasks that others bring: loaders under a name, and parquet files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamr._option_specs import BadOption
from dreamr._plugins import import_plugins
from dreamr.evaluation.tasks import _ADDED as ADDED  # type: ignore[attr-defined]
from dreamr.evaluation.tasks import (
    BadData,
    Item,
    Items,
    Split,
    TaskError,
    add_task,
    load,
    make_problem,
)

EXAMPLE = Path(__file__).parents[3] / "examples" / "timesheet.py"


def png() -> bytes:
    import io

    file = io.BytesIO()
    make_problem("vqa", "test", 1).image.save(file, "PNG")
    return file.getvalue()


def write_table(path: Path, **columns: list[object]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_the_example_task_is_known_by_its_name_once_it_is_imported() -> None:
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
            with pytest.raises(TaskError, match=f"a task '{name}' already"):
                add_task(name, lambda limit, seed, split: Items((), item_of_nothing))
    finally:
        ADDED.pop("none", None)


def item_of_nothing(index: int) -> Item:
    raise AssertionError(index)


def test_a_plugin_that_is_not_there_or_is_no_python_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (:\n")
    for name in ("no_such_module", str(tmp_path / "none.py"), str(tmp_path / "broken.py")):
        with pytest.raises(BadOption, match="cannot be imported"):
            import_plugins(name)


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


def test_a_file_without_an_image_column_is_told_what_is_missing(tmp_path: Path) -> None:
    path = write_table(tmp_path / "text.parquet", question=["?"], answer=["!"])
    with pytest.raises(BadData, match=r"no column image.*needs image, question, answer"):
        load(path)
