"""Setup that all trainings share."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from dreamr_testbed import PAIR
from transformers import TrainerState

from dreamr.training import BadTraining
from dreamr.training.folder import RunFolder
from dreamr.training.trl import LogRows, config_file, load_processor


def rows_of(folder: Path, logs: dict[str, float], *, fp16: bool = False) -> list[int]:
    """Return the steps that are reported for a log of TRL."""
    steps: list[int] = []
    log = LogRows(
        RunFolder(folder / "out", {}), {"loss": "loss"}, 4, lambda step, _: steps.append(step)
    )
    arguments, state = SimpleNamespace(fp16=fp16), TrainerState(global_step=3)
    log.on_train_begin(arguments, state, None)
    log.on_log(arguments, state, None, logs)
    return steps


@pytest.mark.parametrize(
    "logs",
    [
        {"loss": math.nan, "grad_norm": 1.0},
        {"loss": 0.1, "grad_norm": math.nan},
        {"loss": 0.1, "grad_norm": math.inf},
    ],
)
def test_a_training_that_diverges_ends_in_one_line(tmp_path: Path, logs: dict[str, float]) -> None:
    with pytest.raises(BadTraining, match="diverged in step 3: lower --learning-rate and name"):
        rows_of(tmp_path, logs)
    assert (tmp_path / "out/log.csv").read_text().count("\n") == 1


def test_a_finite_step_and_one_that_float16_leaves_out_are_reported(tmp_path: Path) -> None:
    assert rows_of(tmp_path, {"loss": 0.1, "grad_norm": 2.0}) == [3]
    assert rows_of(tmp_path, {"loss": 0.1}) == [3]
    assert rows_of(tmp_path, {"loss": 0.1, "grad_norm": math.inf}, fp16=True) == [3]


def test_a_configuration_has_numbers_without_a_dot_and_dates_as_texts(tmp_path: Path) -> None:
    file = tmp_path / "grpo.yaml"
    file.write_text("learning_rate: 1e-6\nbeta: -2E+3\nrun_name: 2026-11-30\nsteps: 12\n")
    found = config_file(str(file))
    assert found == {"learning_rate": 1e-6, "beta": -2000.0, "run_name": "2026-11-30", "steps": 12}
    assert json.dumps(found)


def test_a_draft_with_code_of_its_own_is_refused_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> str:
        raise AssertionError("a question on the terminal")

    monkeypatch.setattr("builtins.input", asked)
    code = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": code}))
    (tmp_path / "own.py").write_text("raise AssertionError('code of the folder')\n")
    with pytest.raises(BadTraining, match="needs Python code of its own, which is never run"):
        load_processor(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tokenizer_class": "ByT5Tokenizer"}, "has no fast tokenizer"),
        ({"eos_token": None}, "has no end-of-turn token"),
    ],
)
def test_a_draft_whose_tokenizer_lacks_something_is_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    template = (PAIR / "draft" / "chat_template.jinja").read_text()
    folder = tmp_path / "draft"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    (folder / "chat_template.jinja").write_text(template)
    shutil.copy(PAIR / "draft" / "tokenizer.json", folder)
    settings = json.loads((PAIR / "draft" / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **changes}))
    with pytest.raises(BadTraining, match=says):
        load_processor(str(folder))


def test_any_yaml_configuration_identifies_its_training(tmp_path: Path) -> None:
    file = tmp_path / "grpo.yaml"
    file.write_text("model_init_kwargs: {max_memory: {0: 1}}\nmax_grad_norm: .nan\n")
    for _ in range(2):
        folder = RunFolder(tmp_path / "out", {"config": config_file(str(file))})
        folder.model.mkdir(exist_ok=True)
    file.write_text("max_grad_norm: 1.0\n")
    with pytest.raises(BadTraining, match=r"another configuration \(changed: config;"):
        RunFolder(tmp_path / "out", {"config": config_file(str(file))})


@pytest.mark.parametrize(
    "text", ["report_to: !!set {a, b}", "run_name: !!binary aGk=", "a: &a [*a]"]
)
def test_a_configuration_that_json_cannot_hold_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "grpo.yaml"
    file.write_text(text + "\n")
    with pytest.raises(BadTraining, match=r"grpo\.yaml .* lists and mappings"):
        config_file(str(file))
