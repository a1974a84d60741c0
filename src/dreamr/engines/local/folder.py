"""Validation of model paths. It does not import torch, so errors appear without that delay."""

from __future__ import annotations

from pathlib import Path

from dreamr.errors import ModelNotFound


def check_path(name: str) -> None:
    """Check that a path is a model folder. Hugging Face ids are not checked.

    Raises:
        ModelNotFound: If the path does not exist or is not a model folder.
    """
    path = Path(name).expanduser()
    if not name.strip():
        raise ModelNotFound("the model name is empty: give a folder or a Hugging Face id")
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelNotFound(f"{name} is not a model folder: it has no config.json")
    elif path.exists():
        raise ModelNotFound(f"{name} is a file: give the model's folder")
    elif _looks_like_path(name):
        raise ModelNotFound(f"there is no model at {name}")


def _looks_like_path(name: str) -> bool:
    """Return whether a name is a path; Hugging Face ids are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1
