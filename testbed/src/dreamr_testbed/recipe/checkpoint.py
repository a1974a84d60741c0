"""Checkpoint of a training, from which it resumes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dreamr.tooling import first_line
from dreamr.training import BadTraining, writing_weights

CHECKPOINT = "checkpoint.pt"
_NAMES = {"stage", "step", "layers", "model", "state"}


def write_checkpoint(path: Path, saved: Mapping[str, Any]) -> None:
    """Replace a checkpoint atomically.

    Raises:
        Unwritable: If it cannot be written, for example on a full disk; the old one is kept.
    """
    part = path.with_suffix(".part")
    try:
        with writing_weights(path):
            torch.save(dict(saved), part)
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none.

    Raises:
        BadTraining: If it cannot be read or is not a checkpoint.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # of the archive, of the unpickler, or of torch
        raise BadTraining(
            f"cannot read {path} ({first_line(error)}): delete it to train from the start"
        ) from error
    if not (
        isinstance(saved, Mapping)
        and saved.keys() >= _NAMES
        and all(type(saved[name]) is int for name in ("stage", "step", "layers"))
    ):
        raise BadTraining(f"{path} is not a checkpoint: delete it to train from the start")
    return dict(saved)


def load_weights(model: torch.nn.Module, saved: Mapping[str, Any], path: Path) -> None:
    """Load the weights of a checkpoint.

    Raises:
        BadTraining: If they are those of another model.
    """
    try:
        model.load_state_dict(saved["model"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BadTraining(
            f"{path} holds the weights of another model: name another --out"
        ) from error
