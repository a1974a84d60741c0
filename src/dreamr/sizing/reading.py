"""Finds the architecture of a model: folder, cache of the Hugging Face hub, table, hub."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from dreamr._files import read_json
from dreamr._messages import short_path
from dreamr.errors import ModelNotFound
from dreamr.sizing.architecture import Architecture
from dreamr.sizing.configuration import BadConfiguration, read_architecture
from dreamr.sizing.known import completed, known_architecture

_SECONDS = 20.0  # for an answer of the hub
_CONFIG = "config.json"


def find_architecture(name: str) -> Architecture:
    """Return the architecture of a model.

    The first of these that has it: the folder, the local cache of the hub, the table of known
    models, the hub.

    Args:
        name: Folder, Hugging Face ID, or a file or id with weights in the GGUF format whose name
            contains that of a known model.

    Raises:
        ModelNotFound: If none of them has it, or the configuration cannot be read.
        BadConfiguration: If the configuration does not say how large the model is.
    """
    if not name.strip() or "://" in name:
        raise ModelNotFound(
            f"{short_path(name)!r} is not a model: name its folder or its Hugging Face ID"
        )
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        return _of_file(name, folder / _CONFIG)
    cached = _cached(name)
    if cached is not None:
        return _of_file(name, cached)
    known = known_architecture(name)
    if known is not None:
        return known
    return _of_file(name, _downloaded(name))


def _of_file(name: str, path: Path) -> Architecture:
    config = read_json(path, "configuration", ModelNotFound)
    try:
        return read_architecture(name, config, source=str(path))
    except BadConfiguration:
        whole = completed(name, config)
        if whole is None:
            raise
    return read_architecture(name, whole, source=f"{path}, completed from the known models")


def _cached(name: str) -> Path | None:
    """Return the file in the local cache of the hub; None without it, or without the library."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(name, _CONFIG)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _downloaded(name: str) -> Path:
    advice = (
        f"the size of {short_path(name)} is unknown: it is not a folder, not in the cache of the "
        "hub and not in the table of known models"
    )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils.logging import set_verbosity_error
    except ImportError as error:
        raise ModelNotFound(
            f"{advice}; install huggingface-hub to ask the hub, or name a folder"
        ) from error
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise ModelNotFound(f"{advice}; unset HF_HUB_OFFLINE to ask the hub, or name a folder")
    set_verbosity_error()  # it would report each attempt
    try:
        return Path(_within(lambda: hf_hub_download(name, _CONFIG)))
    except HFValidationError as error:
        raise ModelNotFound(f"{advice}; check the name") from error
    except Exception as error:  # the library raises errors of its HTTP client, too
        raise ModelNotFound(
            f"{advice}, and the hub cannot be asked; check the name, or name a folder"
        ) from error


def _within(work: Callable[[], str]) -> str:
    """Call a function in a thread that is abandoned when time is up."""
    answer: Future[str] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="dreamr hub", daemon=True).start()
    return answer.result(_SECONDS)
