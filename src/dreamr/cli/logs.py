"""`dreamr logs`: print the logs of a pair that is up."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio

from dreamr._option_specs import BadOption, OptionSpec
from dreamr.cli import interrupts
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.errors import DreamrError
from dreamr.pairs.running import is_up, running, state_folder
from dreamr.serving.launch.down import NotUp, name_of
from dreamr.serving.launch.guarded import OWN_LOG
from dreamr.serving.launch.log_files import Follower, last_lines

EPILOG = epilog(
    "dreamr logs pair.yaml",
    "dreamr logs invoices small -f",
    notes=("Guide: docs/guides/launch.md",),
)
_POLL = 0.2  # seconds between two looks at the logs
_OWN = "dreamr"  # what the log of `dreamr up` itself is called


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions:
    """Arguments and options of `dreamr logs`."""

    name: Annotated[
        str, OptionSpec("Name of the pair, or its pair file.", "Arguments", positional=True)
    ]
    model: Annotated[
        str | None,
        OptionSpec(
            "Name of a model in the file, or dreamr.", "Arguments", positional=True, shown="all"
        ),
    ] = None
    follow: Annotated[
        bool,
        OptionSpec("Print new lines until the pair is down.", "Options", flags=("--follow", "-f")),
    ] = False
    lines: Annotated[
        int,
        OptionSpec(
            "Lines of each log, from its end.", "Options", 0, 10**6, flags=("--lines", "-n")
        ),
    ] = 100


def logs_command() -> Callable[..., None]:
    """Return the command."""
    return command(_logs, Declared(LogsOptions))


def _logs(options: LogsOptions) -> None:
    """Print the logs of the models of a pair, and that of dreamr up in the background."""
    name = name_of(options.name)
    logs = _chosen(name, options.model)
    width = max(map(len, logs)) if len(logs) > 1 else 0
    prefixes = {model: f"{model:<{width}} | ".encode() if width else b"" for model in logs}
    if not options.follow:
        for model, path in logs.items():
            _print(last_lines(path, options.lines), prefixes[model])
        return
    with ExitStack() as stack:
        followers = {}
        for model, path in logs.items():
            followers[model] = stack.enter_context(closing(Follower(path)))
            _print(last_lines(path, options.lines), prefixes[model])
        interrupts.run(_follow, name, followers, prefixes)


def _chosen(name: str, model: str | None) -> dict[str, Path]:
    """Return the logs to print, by model.

    Raises:
        NotUp: If the pair has none.
        BadOption: If it has no such model.
    """
    folder = state_folder(name)
    logs = {path.stem: path for path in (folder / "logs").glob("*.log")}
    found = dict(sorted({**_expected(name), **logs}.items()))
    if os.path.exists(folder / OWN_LOG):  # false if the folder cannot be read
        found[_OWN] = folder / OWN_LOG
    if not found:
        raise NotUp(f"{name} has no logs: start it with dreamr up FILE")
    if model is None:
        return found
    # Those of a router and its servers have the name of the model in common.
    chosen = {one: path for one, path in found.items() if one.split(".")[0] == model}
    if model in found:
        chosen[model] = found[model]
    if not chosen:
        raise BadOption(f"{name} has no log of {model}: it has those of {', '.join(found)}")
    return chosen


def _expected(name: str) -> dict[str, Path]:
    """Return the logs of all models of a pair that is up, also of those that start later."""
    with suppress(DreamrError):  # its state is damaged, and the logs are what users look for then
        if state := running(name):
            return {model: Path(one.log) for model, one in state.models.items() if one.log}
    return {}


async def _follow(name: str, followers: dict[str, Follower], prefixes: dict[str, bytes]) -> None:
    """Print what is added to the logs, until the pair is down."""
    is_over = False
    while not is_over:
        is_over = not is_up(name)  # before the last lines are read
        for model, follower in followers.items():
            _print(follower.lines(), prefixes[model])
        await anyio.sleep(_POLL)


def _print(lines: Iterable[bytes], prefix: bytes) -> None:
    for line in lines:
        sys.stdout.write(f"{(prefix + line).decode('utf-8', 'replace')}\n")
    sys.stdout.flush()
