"""Files with secrets, for engines that would otherwise take them as arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dreamr.serving.launch.program import EngineCommand

_SUFFIX = ".secret.yaml"


@contextmanager
def secret_file(command: EngineCommand, folder: Path, model: str) -> Iterator[tuple[str, ...]]:
    """Yield program and arguments of an engine that reads its secrets from a file.

    Only the user can read the file. It is removed at the end.

    Args:
        command: The engine's command.
        folder: State folder of the running pair.
        model: Name of the model.

    Raises:
        OSError: If the file cannot be written.
    """
    if not command.secrets:
        yield command.arguments
        return
    path = folder / f"{model}{_SUFFIX}"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(dict(command.secrets), file)  # which is YAML too
        yield (*command.arguments, "--config", str(path))
    finally:
        path.unlink(missing_ok=True)


def remove_secret_files(folder: Path) -> None:
    """Remove files that a `dreamr up` which was killed has left.

    Args:
        folder: State folder of the pair, which is not up.
    """
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            path.unlink()
