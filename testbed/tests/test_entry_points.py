"""The distribution declares its tasks and models as entry points."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from dreamr_testbed import PAIR
from dreamr_testbed.suites import EXTRA_SUITES, FIRST, SUITES

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
DECLARED = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]


def declared(group: str, name: str) -> Any:
    return EntryPoint(name, DECLARED[group][name], group).load()


def test_every_suite_is_a_task_and_only_trained_ones_run_by_default() -> None:
    assert list(DECLARED["dreamr.tasks"]) == list(SUITES)
    assert list(DECLARED["dreamr.extra_tasks"]) == list(EXTRA_SUITES)


@pytest.mark.parametrize(
    ("group", "task"),
    [
        *(("dreamr.tasks", task) for task in SUITES),
        *(("dreamr.extra_tasks", task) for task in EXTRA_SUITES),
    ],
)
def test_a_task_loads_its_suite(group: str, task: str) -> None:
    items = declared(group, task)(3, 5, "test")
    assert len(items) == 3
    assert (items[0].task, items[0].index) == (task, FIRST + 5)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("embedded", ["target", "draft"]),
        ("embedded-before-sapo", ["target", "draft-before-sapo"]),
        ("embedded-multi-image", ["target-multi-image", "draft-multi-image"]),
    ],
)
def test_a_model_name_resolves_to_a_folder_for_each_role(name: str, folders: list[str]) -> None:
    found = [declared("dreamr.models", name)(role) for role in ("target", "draft")]
    assert [folder.name for folder in found] == folders
    assert all((folder / "model.safetensors").is_file() for folder in found)


@pytest.mark.parametrize("name", ["embedded-multi-image", "dreamr-target", "dreamr_testbed"])
def test_the_bundled_models_have_a_family_of_their_own(name: str) -> None:
    (family,) = tomllib.loads(declared("dreamr.families", "testbed").read_text())["family"]
    assert any(re.search(pattern, name) for pattern in family["ids"])
    hints = json.loads((PAIR / "target" / "dreamr.json").read_text())
    assert family["prompts"]["verdict"] == hints["judge_prompt"]


def test_models_and_tasks_are_listed_without_torch() -> None:
    code = "import dreamr_testbed.suites, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
