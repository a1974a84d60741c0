"""Validation of model folders. It does not import torch, so errors appear without that delay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dreamr._files import open_binary, read_json
from dreamr._messages import reason, short_path
from dreamr.errors import ModelNotFound

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs"


def check_path(name: str) -> None:
    """Check that a path is a model folder. Hugging Face IDs are not checked.

    Raises:
        ModelNotFound: If the path does not exist or is not a model folder with usable weights.
    """
    # Not of pathlib, which raises errors for unknown users and long names.
    path, shown = os.path.expanduser(name), short_path(name)
    if not name.strip():
        raise ModelNotFound("the model name is empty: give a folder or a Hugging Face ID")
    if os.path.isdir(path):
        if not os.path.isfile(os.path.join(path, "config.json")):
            raise ModelNotFound(f"{shown} is not a model folder: it has no config.json")
        check_weights(Path(path), shown)
    elif os.path.exists(path):
        raise ModelNotFound(f"{shown} is a file: give the model's folder")
    elif _looks_like_path(name):
        raise ModelNotFound(f"there is no model at {shown}")


def check_weights(folder: Path, name: str) -> None:
    """Check that a model folder has its weights as complete safetensors files.

    Args:
        folder: The folder.
        name: Name of the model, for messages.

    Raises:
        ModelNotFound: If there are none, files are missing, or they are of another format.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelNotFound(f"{name} {_other_weights(folder)}")
    for file in files:
        if _beginning(file) == _POINTER:
            raise ModelNotFound(
                f"{name} is incomplete: {file.name} is a pointer of Git LFS; run git lfs pull "
                "in the folder"
            )
    missing = [file for file in _indexed(folder) if not (folder / file).is_file()]
    if missing:
        raise ModelNotFound(
            f"{name} is incomplete: {len(missing)} files with weights are missing, first "
            f"{short_path(missing[0])}; download it again"
        )


def _beginning(file: Path) -> bytes:
    try:
        with open_binary(file) as opened:
            return opened.read(len(_POINTER))
    except OSError as error:
        raise ModelNotFound(f"cannot read {short_path(file)}: {reason(error)}") from error


def _indexed(folder: Path) -> Iterator[str]:
    """Yield the names of the files that the index of divided weights lists."""
    if not (folder / _INDEX).is_file():
        return
    index = read_json(folder / _INDEX, "index of weights", ModelNotFound).get("weight_map")
    if not isinstance(index, dict):
        raise ModelNotFound(f"index of weights {folder / _INDEX}: it has no weight_map")
    yield from sorted({str(file) for file in index.values()})


def _other_weights(folder: Path) -> str:
    """Return what a folder without safetensors files has instead, and what to do."""
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        return (
            f"has its weights in {short_path(pickles[0])}, a pickle file, which could run code "
            "when it is opened: convert them to safetensors, or use a revision that has them"
        )
    if found := sorted(file.name for file in folder.glob("*.gguf")):
        return (
            f"has its weights in {short_path(found[0])}, a file for llama.cpp: serve it with "
            "llama-server and give its URL"
        )
    return "has no weights in safetensors files: use a model or a revision that has them"


def _looks_like_path(name: str) -> bool:
    """Return whether a name is a path; Hugging Face IDs are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1
