"""Tasks by name: published, installed, added by a plugin, or a file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from dreamr.cli import main
from dreamr.conversation import Conversation
from dreamr.errors import DreamrError
from dreamr.evaluation.tasks import (
    BENCHMARKS,
    LIMIT,
    BadData,
    Item,
    Items,
    Split,
    TaskError,
    UnknownTask,
    add_task,
    by_unit,
    default_tasks,
    installed_tasks,
    known_tasks,
    load,
)
from support.pairs import Pair

INSTALL = "pip install 'dreamr[testbed]'"


def counted(limit: int, seed: int, split: Split) -> Items:
    """Load questions about whole numbers; a loader as a distribution declares it."""
    return Items(range(seed, seed + limit), lambda index: item(split, index))


def item(split: Split, index: int, unit: str | None = None) -> Item:
    return Item(
        "counted", index, f"{split}/{index}", "number", unit or str(index),
        Conversation.from_prompt(f"What is {index} + 1?"), str.strip, str(index + 1).__eq__,
    )  # fmt: skip


def install(monkeypatch: pytest.MonkeyPatch, group: str = "dreamr.tasks", /, **tasks: str) -> None:
    """Replace the installed tasks by these entry points of a distribution without a name."""
    points = EntryPoints(EntryPoint(name, value, group) for name, value in tasks.items())
    monkeypatch.setattr(
        "dreamr._plugins._entry_points", lambda group, path: points.select(group=group)
    )


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all installed tasks."""
    install(monkeypatch)


def test_the_test_bed_brings_its_suites() -> None:
    assert {"docmath", "story", "vqa"} <= set(default_tasks()) <= set(installed_tasks())
    assert known_tasks()[: len(installed_tasks())] == installed_tasks()
    assert set(BENCHMARKS) <= set(known_tasks())


def test_an_installed_task_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, counted=f"{__name__}:counted")
    assert installed_tasks() == default_tasks() == ("counted",)
    assert [each.index for each in load("counted", limit=2, seed=7)] == [7, 8]
    assert load("counted", limit=1, split="train")[0].id == "train/0"
    assert len(load("counted")) == LIMIT
    assert list(load("counted")[4:6].numbers) == [4, 5]
    with pytest.raises(TaskError, match="a task 'counted' already exists"):
        add_task("counted", counted)


def test_an_extra_task_is_loaded_only_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "dreamr.extra_tasks", counted=f"{__name__}:counted")
    assert installed_tasks() == ("counted",)
    assert [each.index for each in load("counted", limit=2, seed=7)] == [7, 8]
    with pytest.raises(UnknownTask, match="no task is installed: name one with --task"):
        default_tasks()
    with pytest.raises(TaskError, match="a task 'counted' already exists"):
        add_task("counted", counted)


def leveled(limit: int, seed: int, split: Split, levels: Sequence[int] = (1, 2)) -> Items:
    """Load questions whose kind is their levels."""
    made = partial(replace, kind=str(tuple(levels)))
    return Items(range(seed, seed + limit), lambda index: made(item(split, index)), levels=levels)


def test_a_level_after_the_name_of_a_task_selects_its_problems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, leveled=f"{__name__}:leveled", counted=f"{__name__}:counted")
    found = load("leveled:2", limit=3, seed=7, split="train")
    assert (found.levels, list(found.numbers)) == ((2,), [7, 8, 9])
    assert [(each.task, each.kind, each.index) for each in found[1:]] == [
        ("leveled:2", "(2,)", 8),
        ("leveled:2", "(2,)", 9),
    ]
    assert load("leveled", limit=1)[0].kind == "(1, 2)"
    for wrong in ("leveled:3", "leveled:", "leveled:1:2", "leveled:x"):
        with pytest.raises(BadData, match=r"^leveled has the levels 1, 2: use leveled or"):
            load(wrong)
    with pytest.raises(BadData, match=r"^counted has no levels: use counted$"):
        load("counted:1")
    for name in ("mathverse", "problems.jsonl"):
        with pytest.raises(BadData, match=rf"^{name} has no levels: use {name}$"):
            load(f"{name}:1")
    with pytest.raises(TaskError, match="must not have a colon"):
        add_task("poems:1", counted)


def test_invalid_arguments_are_one_line_that_names_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, counted=f"{__name__}:counted")
    for wrong in ({"limit": 0}, {"seed": -1}, {"source": "somewhere"}):
        with pytest.raises(BadData, match=r"^counted[^\n]*$"):
            load("counted", **wrong)  # type: ignore[arg-type]


def test_a_broken_distribution_is_reported_only_if_its_task_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_tasks.py").write_text("raise RuntimeError('half installed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(monkeypatch, lost="broken_tasks:load", counted=f"{__name__}:counted")
    assert len(load("counted", limit=3)) == 3
    with pytest.raises(UnknownTask, match="known: counted, lost, mathverse"):
        load("poetry")
    with pytest.raises(TaskError, match=r"^task 'lost' of .*broken_tasks:load.*half installed"):
        load("lost")


def test_two_distributions_with_the_same_task_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = EntryPoints(EntryPoint("twin", value, "dreamr.tasks") for value in ("one:a", "two:b"))
    monkeypatch.setattr(
        "dreamr._plugins._entry_points", lambda group, path: points.select(group=group)
    )
    with pytest.raises(TaskError, match=r"'twin' is provided by .*one:a.* and .*two:b"):
        load("twin")


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownTask, match=r"no task 'poetry'; known: docmath, .*mathverse"
    ) as found:
        load("poetry")
    assert issubclass(UnknownTask, DreamrError)
    assert INSTALL not in str(found.value)


@pytest.mark.usefixtures("bare")
def test_without_the_test_bed_an_unknown_task_names_the_package_to_install() -> None:
    assert installed_tasks() == ()
    with pytest.raises(UnknownTask) as found:
        load("docmath")
    assert str(found.value).startswith("no task 'docmath'; known: mathverse, ")
    assert INSTALL in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    "command",
    [
        ["bench", "run", "--out", "bench"],
        ["calibrate", "--out", "profile.json"],
        ["train", "record", "--out", "records.jsonl"],
        ["train", "measure"],
        ["train", "sapo", "--out", "sapo"],
    ],
)
def test_a_command_without_tasks_is_one_line_that_names_the_package_to_install(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command, open_model=Pair()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"dreamr: no task is installed: name one with --task, or {INSTALL}"
    assert list(tmp_path.iterdir()) == []


def test_listing_tasks_does_not_import_them() -> None:
    code = (
        "import sys, dreamr.cli; from dreamr.evaluation.tasks import known_tasks; known_tasks(); "
        "print([name for name in ('torch', 'numpy', 'dreamr_testbed') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_unit_is_right_if_all_its_items_are() -> None:
    one, two, other = item("test", 1), item("test", 2, unit="1"), item("test", 3)
    outcomes = [(one, True), (two, False), (other, False), (other, True)]
    assert by_unit(outcomes) == {("counted", "1"): False, ("counted", "3"): False}
    assert by_unit([(one, True), (two, True)]) == {("counted", "1"): True}
