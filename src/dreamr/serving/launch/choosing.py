"""The programs that a pair file starts: servers of models, and routers in front of several."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial

from dreamr._option_specs import BadOption
from dreamr.engines.address import parse_address
from dreamr.pairs import Launch, ModelEntry, PairFile
from dreamr.serving.launch.commands import engine_command, with_projector
from dreamr.serving.launch.ports import HOST, free_port
from dreamr.serving.launch.program import EngineCommand, Program, check_port, memory_taken
from dreamr.serving.launch.router import (
    ROUTER,
    ROUTER_ENVIRONMENT,
    check_key,
    find_router,
    router_arguments,
)


def choose_programs(file: PairFile) -> list[Program]:
    """Return the programs to start, in the order of the file.

    The one that has the name of a model serves it: its only server, or the router in front of
    several, which have numbers: `small.1`, `small.2`.

    Raises:
        BadOption: If an engine or the router is not installed, a port is in use, or a model with
            a router has a key that this does not pass on.
    """
    fixed = {model.launch.port for model in file.models.values() if model.launch}
    ports = _Ports({port for port in (*fixed, file.gateway.port) if port})
    found: list[Program] = []
    before: list[Launch] = []
    for model in file.used_models().values():
        if model.is_started:
            found += _of_model(model, ports, before)
            before += model.launches
    return found


class _Ports:
    """Ports of the programs, each given once."""

    def __init__(self, taken: set[int]) -> None:
        self._taken = taken

    def free(self) -> int:
        """Return a free port."""
        port = free_port(self._taken)
        self._taken.add(port)
        return port


def _of_model(model: ModelEntry, ports: _Ports, before: Sequence[Launch]) -> list[Program]:
    """Return what serves a model; other servers start before."""
    launches = model.launches
    taken = [memory_taken((*before, *launches[:n]), one) for n, one in enumerate(launches)]
    port = model.launch.port if model.launch else None
    if len(launches) == 1:
        found = [_server(model.name, model, launches[0], port or ports.free(), taken[0])]
    else:
        check_key(model)
        servers = [
            _server(f"{model.name}.{number}", model, launch, ports.free(), held)
            for number, (launch, held) in enumerate(zip(launches, taken, strict=True), 1)
        ]
        backends = [one.root for one in servers] or [parse_address(u).root for u in model.urls]
        found = [*servers, _router(model.name, servers, backends, port or ports.free(), ports)]
    if port is not None:
        check_port(found[-1])
    return found


def _server(name: str, model: ModelEntry, launch: Launch, port: int, taken: float) -> Program:
    command = partial(engine_command, with_projector(launch), port, model.api_key)
    program = Program(
        name,
        launch.engine,
        command(taken),
        port,
        launch.devices,
        launch=launch,
        command_beside=command,
    )
    _check_installed(model.name, program)
    return program


def _router(
    name: str, servers: Sequence[Program], backends: Sequence[str], port: int, ports: _Ports
) -> Program:
    arguments = router_arguments((), HOST, port, ports.free())
    command = EngineCommand((find_router(name), *arguments), ROUTER_ENVIRONMENT)
    after = tuple(one.model for one in servers)
    return Program(name, ROUTER, command, port, after=after, servers=tuple(backends))


def _check_installed(model: str, program: Program) -> None:
    name = program.command.arguments[0]
    path = program.command.environment.get("PATH", os.environ.get("PATH"))
    if os.path.isabs(name) and os.path.isfile(name) and not os.access(name, os.X_OK):
        raise BadOption(f"model {model}: {name} is not a program: chmod +x {name}")
    if shutil.which(name, path=path) is None:
        raise BadOption(
            f"model {model}: {program.engine} is not installed, there is no program "
            f"{name}: {program.command.install}, or name the program by 'command'"
        )
