"""Servers and routers that are started, and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from dreamr._option_specs import BadOption
from dreamr.serving.launch.ports import HOST, is_free, listener
from dreamr.serving.launch.router import ROUTER


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """How an engine is started.

    Attributes:
        arguments: Program and arguments.
        environment: Variables that are added to the environment.
        install: What installs the program, for a message.
        secrets: Options with secret values, by name without dashes, of an engine that takes them
            as arguments or from a file after `--config`. Arguments can be seen by other users.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    install: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def with_secrets(self) -> tuple[str, ...]:
        """Return program and arguments, with secrets among them."""
        given = ((f"--{name}", text) for name, text in self.secrets.items())
        return (*self.arguments, *chain.from_iterable(given))


@dataclass(frozen=True, slots=True)
class Program:
    """A server of a model, or the router in front of its servers.

    Attributes:
        model: Name of the model in the pair file; with a number if it is one of several servers:
            `small.1`.
        engine: Name of the engine, or `ROUTER`.
        command: How it is started.
        port: Port on which it listens.
        devices: Indices of its CUDA devices; empty for the CPU, None for all that there are. A
            router uses none.
        after: What must be ready before: the servers of a router, as `model` names them.
        servers: Addresses of the servers of a router, which join it when they are healthy.
    """

    model: str
    engine: str
    command: EngineCommand
    port: int
    devices: tuple[int, ...] | None = None
    after: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

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
        if ROUTER in (self.engine, other.engine):
            return False
        return may_share(self.devices, other.devices)


def may_share(first: Sequence[int] | None, second: Sequence[int] | None) -> bool:
    """Return whether two servers may use the memory of the same device.

    Args:
        first: GPUs of a server; empty for the CPU, None for all that there are.
        second: Those of the other one.
    """
    if first is None or second is None:
        return True
    return bool(set(first) & set(second)) or not (first or second)


def earlier(all_programs: Sequence[Program], program: Program) -> list[Program]:
    """Return what must be ready before a program starts.

    These are the servers of a router, and those that share a device with a server: servers measure
    the free memory of a device when they start.
    """
    before = all_programs[: all_programs.index(program)]
    return [one for one in before if one.model in program.after or program.shares_device(one)]


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
