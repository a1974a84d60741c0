"""The state folder of a pair that this process serves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

from dreamr._locks import is_at, lock_file
from dreamr._messages import reason
from dreamr._output_files import replace_file, writing
from dreamr.errors import DreamrError
from dreamr.pairs.running import LOCK, STATE, ModelState, PairState, read_state, state_folder

_ADVICE = "free space on its disk, or set XDG_STATE_HOME to another folder"
_ATTEMPTS, _PAUSE = 20, 0.05  # a reader holds the lock for a moment


class AlreadyUp(DreamrError):
    """A pair of this name is up."""


class Instance:
    """Sole use of the state folder of a pair, and the state in it.

    Attributes:
        folder: The state folder.
        state: What is written there.
    """

    def __init__(self, name: str, file: Path, digest: str) -> None:
        """Take the folder; create it if needed.

        Args:
            name: Name of the pair file.
            file: The pair file.
            digest: SHA-256 of the file.

        Raises:
            AlreadyUp: If a pair of this name is up.
            BadOption: If the name cannot be that of a folder.
            Unwritable: If the folder cannot be written.
        """
        self.folder = state_folder(name)
        with writing(self.folder, _ADVICE):
            self._lock = _locked(self.folder, name)
        self.state = PairState(
            name=name, file=str(file.absolute()), digest=digest, pid=os.getpid(), began=time.time()
        )
        self._note: Callable[[str], None] = lambda line: None
        self._is_written = True
        try:
            with writing(self.folder / STATE, _ADVICE):
                (self.folder / "logs").mkdir(exist_ok=True, mode=0o700)
                self._write()
        except BaseException:
            self._lock.close()
            raise

    def noting(self, note: Callable[[str], None]) -> None:
        """Call a function with a line on each problem from now on."""
        self._note = note

    def change(self, **fields: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **fields)
        try:
            self._write()
            self._is_written = True
        except OSError as error:
            if self._is_written:
                self._note(f"cannot write {self.folder / STATE}: {reason(error)}")
            self._is_written = False

    def serve(self, url: str) -> None:
        """Note that the gateway serves; commands find the pair by this.

        Args:
            url: Address of the gateway.

        Raises:
            Unwritable: If the state cannot be written.
        """
        self.state = replace(self.state, phase="serving", gateway=url)
        with writing(self.folder / STATE, _ADVICE):
            self._write()

    def change_model(self, name: str, **fields: Any) -> None:
        """Change fields of the state of a model."""
        models = self.state.models
        self.change(models={**models, name: replace(models[name], **fields)})

    def add_models(self, models: dict[str, ModelState]) -> None:
        """Add models to the state."""
        self.change(models={**self.state.models, **models})

    def release(self) -> None:
        """Remove the state and give the folder free; it stays if there are logs."""
        with suppress(OSError):
            (self.folder / STATE).unlink(missing_ok=True)
        with suppress(OSError):  # it is not empty
            (self.folder / "logs").rmdir()
            (self.folder / LOCK).unlink()
            self.folder.rmdir()
        self._lock.close()

    def _write(self) -> None:
        content = json.dumps(self.state.to_json(), indent=2)
        replace_file(self.folder / STATE, f"{content}\n".encode())


def created_folder(name: str) -> Path:
    """Return the state folder of a pair, which is created if needed.

    Raises:
        BadOption: If the name cannot be that of a folder.
        Unwritable: If the folder cannot be created.
    """
    folder = state_folder(name)
    with writing(folder, _ADVICE):
        _create(folder)
    return folder


def _create(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _locked(folder: Path, name: str) -> FileIO:
    for _ in range(_ATTEMPTS):
        _create(folder)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        file = FileIO(descriptor, "r+")
        # Its last owner may have removed it meanwhile, and the folder with it.
        if lock_file(file) and is_at(file, folder / LOCK):
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            return file
        file.close()
        time.sleep(_PAUSE)
    raise already_up(name)


def owner(folder: Path) -> int | None:
    """Return the process id in a lock, None if there is none."""
    try:
        return int((folder / LOCK).read_text())
    except (OSError, ValueError):
        return None


def already_up(name: str) -> AlreadyUp:
    """Return the error about a pair of this name that is up."""
    who = ""
    with suppress(DreamrError):
        state = read_state(name)
        who = f" (process {state.pid}, {state.file})" if state else ""
    return AlreadyUp(
        f"{name} is up already{who}: run 'dreamr down {name}' first, or choose another 'name'"
    )
