"""`dreamr pair`: write, plan and check pair files, and print their schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.table import Table

from dreamr._messages import short_path
from dreamr._option_specs import OptionSpec
from dreamr.cli import interrupts
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.cli.pair_init import INIT_EPILOG, init_command
from dreamr.cli.pair_plan import PLAN_EPILOG, plan_command
from dreamr.cli.screen import stdout_console, uncut_table
from dreamr.engines import OpenModel
from dreamr.errors import DreamrError
from dreamr.pairs import ChosenPair, ModelEntry, PairFile, examine, schema_text
from dreamr.steps import Role

_GUIDE = "Guide: docs/guides/pair-file.md"
_CHECK_EPILOG = epilog(
    "dreamr pair check pair.yaml",
    "dreamr pair check pair.yaml --online",
    notes=("Exit status: 0 no fault, 1 a server does not answer, 2 the file has faults.", _GUIDE),
)
_SCHEMA_EPILOG = epilog("dreamr pair schema > pair.schema.json", notes=(_GUIDE,))
_FAULTS, _UNREACHED = 2, 1
_SECONDS = 20.0  # for the answer of a server


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Options of `dreamr pair check`."""

    file: Annotated[Path, OptionSpec("Pair file.", "Arguments", positional=True)]
    online: Annotated[
        bool, OptionSpec("Also ask whether the servers of the pairs answer.", "Options")
    ] = False


def pair_app(open_model: OpenModel) -> typer.Typer:
    """Return the commands of `dreamr pair`."""
    app = typer.Typer(no_args_is_help=True, help="Write, plan and check pair files.")

    app.command("init", epilog=INIT_EPILOG)(init_command)
    app.command("plan", epilog=PLAN_EPILOG)(plan_command)
    check = command(_check, Declared(CheckOptions), open_model=open_model)
    app.command("check", epilog=_CHECK_EPILOG)(check)
    app.command("schema", epilog=_SCHEMA_EPILOG)(command(_schema))
    return app


def _schema() -> None:
    """Print the JSON schema of pair files, for editors."""
    print(schema_text(), end="")


def _check(options: CheckOptions, open_model: OpenModel) -> None:
    """Show what a pair file declares, and all of its faults.

    Each fault has a line and a column. No model is opened without --online.
    """
    found = examine(options.file)
    console = stdout_console()
    shown = short_path(options.file)
    for fault in found.faults:
        console.print(fault.at(shown), soft_wrap=not console.is_terminal)
    for warning in found.warnings:
        place = f"{shown}:{warning.line}:{warning.column}"
        console.print(f"{place}: warning: {warning.message}", soft_wrap=not console.is_terminal)
    if found.file is None:
        raise typer.Exit(_FAULTS)
    for table in _tables(found.file):
        console.print(table)
    if options.online and not interrupts.run(_ask_all, found.file, open_model, console):
        raise typer.Exit(_UNREACHED)


def _tables(file: PairFile) -> Iterator[Table]:
    pairs = uncut_table("pair", "target", "draft", "options")
    for pair in file.pairs.values():
        pairs.add_row(pair.name, pair.target or "-", pair.draft or "-", _listed(pair.given_options))
    yield pairs
    models = uncut_table("model", "server", "served model or weights", "key")
    for model in file.models.values():
        models.add_row(model.name, *_described(model))
    yield models
    gateway = uncut_table("name", "gateway", "options")
    given = {name: getattr(file.gateway, name) for name in sorted(file.gateway_given)}
    given = {name: value for name, value in given.items() if name not in ("host", "port")}
    gateway.add_row(file.name, f"{file.gateway.host}:{file.gateway.port}", _listed(given))
    yield gateway


def _listed(options: Mapping[str, Any]) -> str:
    """Return options in one line: numbers, switches and short texts with their values."""
    parts = []
    for name, value in options.items():
        short = isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 20)
        shown = f"{value:g}" if isinstance(value, float) else value
        parts.append(f"{name} {shown}" if short else name)
    return ", ".join(parts) or "-"


def _described(model: ModelEntry) -> tuple[str, str, str]:
    """Return where a model is served, what it is, and where its key comes from."""
    key = "-" if model.api_key is None else "in the file"
    if model.api_key_variable is not None:
        key = f"${model.api_key_variable}"
    launch = model.launch
    if launch is None:
        return ", ".join(model.urls), model.model or "its only model", key
    place: list[str] = [launch.engine]
    if launch.devices is not None:
        place.append(f"cuda {', '.join(map(str, launch.devices))}" if launch.devices else "cpu")
    if launch.port is not None:
        place.append(f"port {launch.port}")
    if model.replicas > 1:
        place.append(f"{model.replicas} replicas")
    revision = f"@{launch.revision}" if launch.revision else ""
    return ", ".join(place), f"{launch.model}{revision}", key


async def _ask_all(file: PairFile, open_model: OpenModel, console: Console) -> bool:
    """Open each served model of the pairs once, and return whether all of them answer."""
    asked: set[str] = set()
    reached = True
    for pair in file.pairs.values():
        chosen = ChosenPair(file, pair)
        for role, name in pair.roles.items():
            launch = file.models[name].launch
            if name in asked or (launch is not None and launch.engine == "local"):
                continue
            asked.add(name)
            error = await _ask(chosen, role, open_model)
            answer = "it answers" if error is None else error
            console.print(f"{name}: {answer}", soft_wrap=not console.is_terminal)
            reached &= error is None
    return reached


async def _ask(chosen: ChosenPair, role: Role, open_model: OpenModel) -> str | None:
    """Open a model and close it; return what is wrong, None if nothing is."""
    try:
        values = chosen.file.model_options(chosen.pair.name, role, chosen.addresses)
        source = replace(chosen.pair.options, **values).source(role)
        with anyio.move_on_after(_SECONDS):
            model = await chosen.opener(open_model)(source)
            await model.engine.aclose()
            return None
    except DreamrError as error:
        return str(error)
    return f"no answer within {_SECONDS:g} s"
