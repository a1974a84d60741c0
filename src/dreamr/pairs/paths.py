"""Paths in a pair file: they are relative to its folder."""

from __future__ import annotations

import os
from pathlib import Path

from dreamr.engines import is_served

_MARKS = ("./", "../", "/", "~", ".\\")


def located(path: str, folder: Path) -> str:
    """Return an absolute path; one that is not is relative to the folder."""
    return os.path.abspath(folder / os.path.expanduser(path))


def program_path(name: str, folder: Path) -> str:
    """Return a program as an absolute path; a name without a folder, which PATH has, unchanged."""
    return located(name, folder) if "/" in name or name.startswith("~") else name


def model_path(name: str, folder: Path) -> str:
    """Return a model's path as an absolute one; addresses, ids and other names unchanged.

    A name is a path if it begins like one, or if the folder has a file or folder of that name.
    """
    if is_served(name):
        return name
    is_path = name in (".", "..") or name.startswith(_MARKS)
    try:
        return located(name, folder) if is_path or (folder / name).exists() else name
    except (OSError, ValueError):
        return name
