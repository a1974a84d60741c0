"""The servers that a pair file starts: one for each model with a `launch`."""

from __future__ import annotations

import os
import shutil

from dreamr._option_specs import BadOption
from dreamr.pairs import PairFile
from dreamr.serving.launch.commands import engine_command
from dreamr.serving.launch.ports import free_port
from dreamr.serving.launch.program import Program, check_port


def choose_programs(file: PairFile) -> list[Program]:
    """Return the servers to start, in the order of the file.

    Raises:
        BadOption: If an engine is not installed, a port is in use, or a model has replicas.
    """
    found: list[Program] = []
    fixed = {model.launch.port for model in file.models.values() if model.launch}
    taken = {port for port in (*fixed, file.gateway.port) if port}
    for name, model in file.used_models().items():
        launch = model.launch
        if launch is None or not model.is_started:
            continue
        if model.replicas > 1:
            raise BadOption(
                f"model {name}: dreamr up starts one server of a model, not {model.replicas}; "
                "dreamr deploy writes files for replicas"
            )
        port = launch.port or free_port(taken)
        taken.add(port)
        command = engine_command(launch, port, model.api_key)
        program = Program(name, launch.engine, command, port, launch.devices)
        _check_installed(program)
        if launch.port is not None:
            check_port(program)
        found.append(program)
    return found


def _check_installed(program: Program) -> None:
    name = program.command.arguments[0]
    path = program.command.environment.get("PATH", os.environ.get("PATH"))
    if shutil.which(name, path=path) is None:
        raise BadOption(
            f"model {program.model}: {program.engine} is not installed, there is no program "
            f"{name}: {program.command.install}, or name the program by 'command'"
        )
