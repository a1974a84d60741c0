"""Servers that are started, and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dreamr._option_specs import BadOption
from dreamr.serving.launch.ports import HOST, is_free, listener


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """How an engine is started.

    Attributes:
        arguments: Program and arguments.
        environment: Variables that are added to the environment.
        install: What installs the program, for a message.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    install: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A server of a model.

    Attributes:
        model: Name of the model in the pair file.
        engine: Name of the engine.
        command: How it is started.
        port: Port on which it listens.
        devices: Indices of its CUDA devices; empty for the CPU, None for all that there are.
    """

    model: str
    engine: str
    command: EngineCommand
    port: int
    devices: tuple[int, ...] | None = None

    @property
    def root(self) -> str:
        """Address of the server."""
        return f"http://{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """Base URL of the server's API."""
        return f"{self.root}/v1"

    def shares_device(self, other: Program) -> bool:
        """Return whether two servers use the same device: a GPU, or both the CPU."""
        if self.devices is None or other.devices is None:
            return True
        return bool(set(self.devices) & set(other.devices)) or not (self.devices or other.devices)


def earlier(all_programs: Sequence[Program], program: Program) -> list[Program]:
    """Return the servers that must be ready before a server starts: they share its device.

    Servers measure the free memory of a device when they start.
    """
    before = all_programs[: all_programs.index(program)]
    return [other for other in before if program.shares_device(other)]


def check_port(program: Program) -> None:
    """Check that a server can listen on its port.

    Raises:
        BadOption: If it cannot.
    """
    if not is_free(program.port):
        raise BadOption(
            f"port {program.port} of model {program.model} is in use by "
            f"{listener(program.port)}: stop it, or choose another 'port'"
        )


def log_name(path: Path) -> str:
    """Return a path for a message, with the home folder as ~."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except ValueError:
        return str(path)
