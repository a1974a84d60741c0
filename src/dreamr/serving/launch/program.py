"""Servers and routers that are started, and their order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from dreamr._option_specs import BadOption
from dreamr.pairs import Launch
from dreamr.serving.launch.ports import HOST, is_free, listener
from dreamr.serving.launch.router import ROUTER

VISIBLE = "CUDA_VISIBLE_DEVICES"  # the variable that limits a server to its GPUs
_CPU, _FIRST = "CPU", "first"  # the CPU, and the GPU that servers choose by themselves


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
        launch: What the pair file says about a server.
        command_beside: Returns how a server is started, given the share of its devices' memory that
            others hold. None: as in `command`.
    """

    model: str
    engine: str
    command: EngineCommand
    port: int
    devices: tuple[int, ...] | None = None
    after: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    launch: Launch | None = None
    command_beside: Callable[[float], EngineCommand] | None = field(default=None, repr=False)

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


def memory_taken(before: Iterable[Launch], launch: Launch) -> float:
    """Return the share of memory that servers hold on the devices of a server that starts later.

    Servers without `memory` count nothing: what they take is not known.

    Args:
        before: The servers that run when it starts.
        launch: The server.

    Returns:
        The share on the device where it is largest; 0 if none is shared.
    """
    held: dict[int | str, float] = defaultdict(float)
    for one in before:
        for place in _places(one):
            held[place] += one.memory or 0
    return max((held[place] for place in _places(launch)), default=0.0)


def _places(launch: Launch) -> Sequence[int | str]:
    """Return the devices of a server; none if a variable of its own chooses them."""
    if VISIBLE in launch.env:
        return ()
    if launch.devices is None:
        return (_FIRST,)
    return launch.devices or (_CPU,)


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
