"""A first look at what is given as a model. No torch in here: it answers before that is loaded."""

from __future__ import annotations

from pathlib import Path

from dreamr.errors import ModelNotFound


def check_path(name: str) -> None:
    """Say at once what is wrong with a path; hub ids pass.

    Raises:
        ModelNotFound: nothing there, or no model in there.
    """
    path = Path(name).expanduser()
    if not name.strip():
        raise ModelNotFound("no model was named")
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelNotFound(f"{name} is no model folder: it has no config.json")
    elif path.exists():
        raise ModelNotFound(f"{name} is a file: give the model's folder")
    elif _looks_like_path(name):
        raise ModelNotFound(f"there is no model at {name}")


def _looks_like_path(name: str) -> bool:
    """Hub ids are a name, or an owner and a name."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1
