"""Drawn tasks run on models that were trained on them, and on those that name no tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.conversation import Conversation
from dreamr.errors import Unsupported
from dreamr.evaluation.bench import check_trained
from dreamr.evaluation.tasks import Item, Items, Split, registry


def leveled(limit: int, seed: int, split: Split, levels: Sequence[int] = (1, 2)) -> Items:
    return Items(range(limit), question, levels=levels)


def question(index: int) -> Item:
    asked = Conversation.from_prompt("How many?")
    return Item("boxes", index, "1", "box", "1", asked, str.strip, "1".__eq__)


def plain(limit: int, seed: int, split: Split) -> Items:
    return Items(range(limit), question)


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ADDED", {"boxes": leveled, "plain": plain})


def model(folder: Path, **hints: Any) -> str:
    folder.mkdir()
    (folder / "dreamr.json").write_text(json.dumps(hints), encoding="utf-8")
    return str(folder)


def check(target: str, draft: str, task: str = "boxes", **options: Any) -> None:
    run = RunOptions(target=target, draft=draft, **options)
    check_trained((task,), run, ("target", "draft"))


def test_a_task_that_a_model_was_not_trained_on_is_refused_in_one_line(tmp_path: Path) -> None:
    trained = model(tmp_path / "a", trained_tasks={"boxes": [1, 2, 3]})
    other = model(tmp_path / "b", trained_tasks={"cards": [1], "balls": [1, 2]})
    check(trained, trained)
    with pytest.raises(Unsupported) as refused:
        check(other, trained)
    assert str(refused.value) == (
        "the target was not trained on boxes and would guess (trained on: balls, cards): "
        "choose other tasks or models, or set --untrained to run it anyway"
    )
    with pytest.raises(Unsupported, match="the draft was not trained on boxes"):
        check(trained, other)


def test_missing_levels_are_named(tmp_path: Path) -> None:
    easy = model(tmp_path / "a", trained_tasks={"boxes": [1]})
    with pytest.raises(Unsupported, match=r"level 2 of boxes and .* choose --task boxes:1, other"):
        check(easy, easy)


def test_a_level_that_a_model_was_trained_on_is_not_refused(tmp_path: Path) -> None:
    easy = model(tmp_path / "a", trained_tasks={"boxes": [1]})
    check(easy, easy, "boxes:1")
    with pytest.raises(Unsupported, match="not trained on level 2 of boxes and"):
        check(easy, easy, "boxes:2")


def test_models_without_a_list_and_tasks_without_levels_are_not_checked(tmp_path: Path) -> None:
    other = model(tmp_path / "a", trained_tasks={"cards": [1]})
    check(other, other, "plain")
    check(model(tmp_path / "b"), model(tmp_path / "c", max_images=1))
    check("http://localhost:8000", "http://localhost:8001")


def test_untrained_runs_any_task(tmp_path: Path) -> None:
    other = model(tmp_path / "a", trained_tasks={"cards": [1]})
    check(other, other, untrained=True)


def test_only_models_that_are_asked_are_checked(tmp_path: Path) -> None:
    trained = model(tmp_path / "a", trained_tasks={"boxes": [1, 2]})
    other = model(tmp_path / "b", trained_tasks={"cards": [1]})
    run = RunOptions(target=trained, draft=other)
    check_trained(("boxes",), run, ("target",))
