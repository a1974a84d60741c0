"""Where files of this machine are in the containers of engines."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from dreamr.serving.deploy.plan import EngineService

MODELS = "/models"  # folder of local weights in a container
HUB_CACHE = "/root/.cache/huggingface"
_OTHERS = "/host"  # folder of other files, with their whole path: nothing of the image is hidden
# Whole, or after a separator; the rest of a URL begins with two slashes.
_PATH = re.compile(r"""(?:^|(?<=[=:,"']))/[^=:,"'/][^=:,"']*""")
_PARTS = re.compile(r"(.*)-\d{5}-of-(\d{5})\.gguf")


def mounted_weights(engine: EngineService) -> str:
    """Return the folder in a container that is its volume of weights."""
    if engine.weights is None:
        return HUB_CACHE
    return MODELS if engine.is_file else f"{MODELS}/{engine.weights.name}"


def moved(engine: EngineService, others: Collection[Path] = ()) -> EngineService:
    """Return an engine whose model and flags name files where they are in its container.

    Args:
        engine: The engine.
        others: Files and folders that are mounted beside the weights.
    """

    def place(match: re.Match[str]) -> str:
        return _place(engine, _normal(match[0]), others) or match[0]

    flags = (flag if _is_template(flag) else _PATH.sub(place, flag) for flag in engine.launch.flags)
    weights = engine.weights
    model = engine.launch.model if weights is None else f"{MODELS}/{weights.name}"
    return replace(engine, launch=replace(engine.launch, model=model, flags=tuple(flags)))


def bind_mounts(engine: EngineService, others: Collection[Path]) -> list[str]:
    """Return the files of an engine as volumes of Compose, none if it needs no local ones.

    Args:
        engine: The engine.
        others: Files and folders that are mounted beside the weights.
    """
    binds = []
    if engine.weights is not None:
        binds = [f"{path}:{MODELS}/{path.name}:ro" for path in _parts(engine.weights)]
    for path in named_paths(engine):
        if _is_beside(engine, path) and not engine.is_file:
            continue  # in the folder of the weights, which is mounted as a whole
        for part in _parts(path):
            if (place := _place(engine, part, {*others, part} if path in others else ())) is None:
                continue
            if not any(bind.startswith(f"{part}:") for bind in binds):
                binds.append(f"{part}:{place}")  # to which the engine may write
    return binds


def named_paths(engine: EngineService) -> tuple[Path, ...]:
    """Return the absolute paths in the flags of an engine."""
    flags = (flag for flag in engine.launch.flags if not _is_template(flag))
    return tuple(dict.fromkeys(_normal(found) for flag in flags for found in _PATH.findall(flag)))


def beside_weights(engine: EngineService) -> tuple[Path, ...]:
    """Return the paths in its flags that are in the folder of its weights."""
    return tuple(path for path in named_paths(engine) if _is_beside(engine, path))


def unmounted(engine: EngineService, others: Collection[Path] = ()) -> tuple[Path, ...]:
    """Return the paths in its flags and command that its container has from its image or not."""
    program = [Path(word) for word in (engine.launch.command or ())[:1]]
    flags = (path for path in named_paths(engine) if _place(engine, path, others) is None)
    return (*(path for path in program if path.is_absolute()), *flags)


def _place(engine: EngineService, path: Path, others: Collection[Path]) -> str | None:
    """Return the path of a file in the container of an engine, None if it is not mounted."""
    folder = _folder(engine)
    if folder is not None and path.is_relative_to(folder):
        return str(Path(mounted_weights(engine)) / path.relative_to(folder))
    return f"{_OTHERS}{path}" if path in others else None


def _is_beside(engine: EngineService, path: Path) -> bool:
    folder = _folder(engine)
    return folder is not None and path.is_relative_to(folder)


def _folder(engine: EngineService) -> Path | None:
    """Return the folder with the weights on this machine, None if there is no own one."""
    weights = engine.weights
    folder = weights.parent if weights is not None and engine.is_file else weights
    return None if folder == Path("/") else folder


def _parts(path: Path) -> list[Path]:
    """Return all files of a GGUF model, of which the first part is named."""
    found = _PARTS.fullmatch(path.name)
    if found is None:
        return [path]
    stem, count = found.groups()
    return [path.with_name(f"{stem}-{n:05}-of-{count}.gguf") for n in range(1, int(count) + 1)]


def _normal(path: str) -> Path:
    return Path(os.path.normpath(path))


def _is_template(flag: str) -> bool:
    """Return whether a flag is a chat template, in which texts may look like paths."""
    return "{%" in flag or "{{" in flag
