"""Pairs that `dreamr up` has started: where their state is, and what it says.

Each has a folder, `$XDG_STATE_HOME/dreamr/NAME`. The process that serves the pair holds a lock
there, which the system takes back if that process dies: a state without its lock is stale.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dreamr._files import read_json
from dreamr._locks import lock_file
from dreamr._messages import reason, short_path
from dreamr._option_specs import BadOption
from dreamr.errors import DreamrError
from dreamr.pairs.declaration import PairFile

STATE, LOCK = "state.json", "lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class PairStateError(DreamrError):
    """The state of a running pair cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One model of a running pair.

    Attributes:
        engine: The engine that serves it.
        url: Base URL of its server.
        phase: What it does: `starting`, `ready`, or `restarting`.
        pid: Process id of its server, None while there is none.
        restarts: How often it was started again.
        log: Its log.
    """

    engine: str
    url: str
    phase: str = "starting"
    pid: int | None = None
    restarts: int = 0
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairState:
    """A pair that is up.

    Attributes:
        name: Name of the pair file.
        file: Path of the pair file.
        digest: SHA-256 of the file when it was read.
        pid: Id of the process that serves it.
        began: Time at which it was started, in seconds since 1970.
        phase: What it does: `starting`, `serving` or `stopping`.
        gateway: URL of its gateway, None before it serves.
        models: Models that were started, by name.
    """

    name: str
    file: str
    digest: str
    pid: int
    began: float
    phase: str = "starting"
    gateway: str | None = None
    models: Mapping[str, ModelState] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[str, str]:
        """Base URLs of the servers by the names of their models."""
        return {name: model.url for name, model in self.models.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PairState:
        """Return the state that a JSON object holds.

        Raises:
            ValueError: If a field is missing, or has a value of another type.
        """
        from pydantic import TypeAdapter  # it takes time, and most commands read no state

        return TypeAdapter(cls).validate_python(dict(found))


def state_root() -> Path:
    """Return the folder that holds a folder for each running pair."""
    named = os.environ.get("XDG_STATE_HOME", "")
    # A relative path is ignored, as the specification of the variable demands.
    return (Path(named) if os.path.isabs(named) else Path.home() / ".local" / "state") / "dreamr"


def state_folder(name: str) -> Path:
    """Return the folder of a running pair.

    Raises:
        BadOption: If the name cannot be that of a folder.
    """
    if not _NAME.fullmatch(name):
        raise BadOption(
            f"the name of a pair file has letters, digits, '.', '_' and '-' only, not "
            f"{short_path(name)}"
        )
    return state_root() / name


def is_up(name: str) -> bool:
    """Return whether a process serves the pair."""
    try:
        with (state_folder(name) / LOCK).open("rb", buffering=0) as file:
            return not lock_file(file, shared=True)
    except OSError:
        return False


def has_state(name: str) -> bool:
    """Return whether a pair has a state, up or not.

    Raises:
        PairStateError: If its folder cannot be read.
    """
    path = state_folder(name) / STATE
    try:
        return path.exists()
    except OSError as error:
        raise PairStateError(f"cannot read state {path}: {reason(error)}") from error


def read_state(name: str) -> PairState | None:
    """Return the state of a pair, also a stale one; None if there is none.

    Raises:
        PairStateError: If it cannot be read.
    """
    path = state_folder(name) / STATE
    if not has_state(name):
        return None
    found = read_json(path, "state", PairStateError)
    try:
        return PairState.from_json(found)
    except ValueError as error:
        raise PairStateError(
            f"state {path} was written by another version: run dreamr down {name}"
        ) from error


def running(name: str) -> PairState | None:
    """Return the state of a pair that is up, None if it is not.

    Raises:
        PairStateError: If it cannot be read.
    """
    return read_state(name) if is_up(name) else None


def addresses_of(file: PairFile) -> dict[str, str]:
    """Return the base URLs of the servers of a pair file that is up, by model; none if it is not.

    Raises:
        PairStateError: If its state cannot be read.
    """
    state = running(file.name)
    return state.addresses if state is not None and state.file == str(file.path) else {}


def known_names() -> list[str]:
    """Return the names of all pairs that have a state, up or not.

    Folders that cannot be read are left out.
    """
    root = state_root()
    try:
        found = os.listdir(root)
    except OSError:
        return []
    # Unlike Path.is_file, os.path.isfile does not raise if a folder cannot be read.
    return sorted(n for n in found if _NAME.fullmatch(n) and os.path.isfile(root / n / STATE))
