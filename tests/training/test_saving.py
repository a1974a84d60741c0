"""Failures while a training writes weights, and the dtype of the trained draft."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from dreamr.errors import Unwritable
from dreamr.training import BadTraining, SapoOptions
from dreamr.training.trl import Resumes, Training, prepared, train

TORCH = "[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"
FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    RuntimeError(TORCH),
]


class Model:
    """Model that writes its dtype as its weights, or fails to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.dtype = error, torch.float32

    def to(self, dtype: torch.dtype) -> Model:
        self.dtype = dtype
        return self

    def save_pretrained(self, folder: Path) -> None:
        if self.error is not None:
            raise self.error
        folder.mkdir()
        (folder / "model.safetensors").write_text(str(self.dtype))


class Trainer:
    """Trainer of transformers without steps."""

    def __init__(self, model: Model, error: Exception | None = None) -> None:
        self.model, self.error = model, error
        self.accelerator = SimpleNamespace(is_main_process=True, unwrap_model=lambda model: model)
        self.args = SimpleNamespace(output_dir="checkpoints")

    def remove_callback(self, kind: object) -> None:
        pass

    def train(self, resume_from_checkpoint: str | None) -> None:
        self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.error is not None:
            raise self.error


class Resuming(Resumes, Trainer):
    pass


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """Folder of a composite model whose dtype is only in the configuration of its decoder."""
    text = {"model_type": "llama", "dtype": "bfloat16"}
    config = {"model_type": "llava", "text_config": text}
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "config.json").write_text(json.dumps(config))
    return tmp_path / "start"


def trained(draft: Path, trainer: Trainer) -> Path:
    options = SapoOptions(draft=str(draft))
    with prepared(options, draft.parent / "out", str(draft), {}) as training:
        return finish(trainer, training)


def finish(trainer: Trainer, training: Training) -> Path:
    return train(trainer, training, "sapo")


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_full_disk_is_one_line_that_names_the_folder(draft: Path, error: Exception) -> None:
    with pytest.raises(Unwritable, match=r"^cannot write checkpoints: .*; free some space"):
        trained(draft, Resuming(Model(), error))
    with pytest.raises(Unwritable, match=r"^cannot write .*/out/draft: .*; free some space"):
        trained(draft, Resuming(Model(error)))


def test_another_error_of_torch_keeps_its_traceback(draft: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        trained(draft, Resuming(Model(), RuntimeError("shapes cannot be multiplied")))


def test_a_full_gpu_is_one_line_that_names_the_options(draft: Path) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
    with pytest.raises(BadTraining, match=r"out of memory.*--micro-batch or --max-tokens"):
        trained(draft, Resuming(Model(), error))


def test_the_draft_is_saved_with_the_dtype_of_its_decoder(draft: Path) -> None:
    model = trained(draft, Resuming(Model()))
    assert (model / "model.safetensors").read_text() == "torch.bfloat16"
