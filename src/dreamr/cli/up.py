"""`dreamr up`: start the models of a pair file, and serve them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from dreamr._messages import short_path
from dreamr._option_specs import BadOption, OptionSpec
from dreamr._options import RunOptions
from dreamr.cli import interrupts
from dreamr.cli.brief_doctor import check_pairs
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.cli.screen import printable, stderr_console
from dreamr.cli.serve import serve_models
from dreamr.engines import OpenModel
from dreamr.errors import DreamrError, Unsupported
from dreamr.pairs import PairFile, read_pair_file, with_keys
from dreamr.pairs.errors import without_dashes
from dreamr.pairs.running import PairState, is_up, read_state
from dreamr.serving.launch.choosing import choose_programs
from dreamr.serving.launch.guarded import GRACE, OWN_LOG, keep_log
from dreamr.serving.launch.instance import Instance, already_up, created_folder
from dreamr.serving.launch.leftovers import end_leftovers
from dreamr.serving.launch.log_files import Follower
from dreamr.serving.launch.ports import is_free, listener
from dreamr.serving.launch.secret_files import remove_secret_files
from dreamr.serving.launch.supervisor import LaunchFailed, Supervisor
from dreamr.serving.options import ServeOptions

EPILOG = epilog(
    "dreamr up pair.yaml",
    "dreamr up pair.yaml --detach",
    "dreamr ps",
    "dreamr down pair.yaml",
    notes=(
        "Ctrl-C lets running requests finish and ends all servers.",
        "Guide: docs/guides/launch.md",
    ),
)
_POLL = 0.2  # seconds between two looks at a pair that starts in the background
_SHOWN_EVERY = 15.0  # seconds between two lines about servers that are starting
_LOG_SECONDS = 5.0  # for the last lines of a pair in the background to be in its log
_END_SECONDS = 30.0  # for a pair in the background to end after Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """Arguments and options of `dreamr up`."""

    file: Annotated[Path, OptionSpec("The pair file.", "Arguments", positional=True, reads="*")]
    detach: Annotated[
        bool,
        OptionSpec(
            "Run in the background; return when the gateway serves.",
            "Options",
            flags=("--detach", "-d"),
        ),
    ] = False
    start_timeout: Annotated[
        float,
        OptionSpec("Longest time in seconds in which a server may start.", "Options", 1, 86400),
    ] = 1800.0
    doctor: Annotated[
        bool,
        OptionSpec("Run the quick checks of dreamr doctor before the pairs are served.", "Options"),
    ] = True


def up_command(open_model: OpenModel) -> Callable[..., None]:
    """Return the command."""
    return command(_up, Declared(UpOptions), open_model=open_model)


def _up(options: UpOptions, open_model: OpenModel) -> None:
    """Start the models of a pair file and serve its pairs, until Ctrl-C.

    Servers that share a device start one after the other. A server that ends later is started
    again.
    """
    if not sys.platform.startswith("linux"):
        raise Unsupported("dreamr up needs Linux: start the servers yourself, and name their 'url'")
    file = read_pair_file(options.file)
    if options.detach:
        _detach(options, file)
    else:
        interrupts.run(_serve, options, file, open_model)


async def _serve(options: UpOptions, file: PairFile, open_model: OpenModel) -> None:
    instance = Instance(file.name, file.path, file.digest)
    open_model = with_keys(file, open_model, lambda: instance.state.addresses)
    try:
        console = stderr_console()
        instance.noting(partial(_show, console))
        _check_port(file.gateway)
        if left := await end_leftovers(instance.folder, grace=GRACE):
            _show(console, f"ended {left} processes of an earlier dreamr up")
        remove_secret_files(instance.folder)
        gateway = replace(file.gateway, served_model_name=file.default.name)
        prepared = _started(options, file, instance, open_model, console)
        await serve_models(gateway, prepared, open_model, instance.serve)
    except LaunchFailed:
        raise
    except DreamrError as error:
        message = _as_in_the_file(str(error))
        if message == str(error):
            raise
        kind = BadOption if isinstance(error, BadOption) else DreamrError
        raise kind(message) from error
    finally:
        instance.release()


def _as_in_the_file(message: str) -> str:
    """Return a message that names options of the gateway as the file has them."""
    return without_dashes(message.replace("--wait SECONDS", "'wait' under 'gateway'"))


def _check_port(gateway: ServeOptions) -> None:
    """Check that the gateway can listen on its port, before anything is started.

    Raises:
        BadOption: If it cannot.
    """
    if gateway.port and not is_free(gateway.port, gateway.host):
        raise BadOption(
            f"port {gateway.port} of the gateway is in use by {listener(gateway.port)}: stop it, "
            "or choose another 'port' under 'gateway'"
        )


@asynccontextmanager
async def _started(
    options: UpOptions,
    file: PairFile,
    instance: Instance,
    open_model: OpenModel,
    console: Console,
) -> AsyncIterator[Mapping[str, RunOptions]]:
    """Start the servers and yield the options of the runs; end the servers afterwards."""
    show = partial(_show, console)
    programs = choose_programs(file)
    async with Supervisor(programs, instance, show, options.start_timeout, GRACE) as supervisor:
        progress = _Progress(console)
        try:
            await supervisor.ready(progress.show)
        finally:
            progress.stop()
        addresses = instance.state.addresses
        pairs = {name: file.run_options(name, addresses) for name in file.pairs}
        if options.doctor:
            await check_pairs(pairs, open_model, show)
        yield pairs
        instance.change(phase="stopping")


def _show(console: Console, line: str) -> None:
    console.print(printable(line))


class _Progress:
    """Shows what servers that are starting do: in place on terminals, else now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = console.status("") if console.is_terminal else None
        self._last = time.monotonic()

    def show(self, lines: list[str]) -> None:
        """Show a line for each server that is starting."""
        text = "\n".join(map(printable, lines))
        if self._status is not None:
            self._status.update(Text(text))  # log lines may look like markup
            self._status.start()
        elif time.monotonic() - self._last >= _SHOWN_EVERY:
            self._last = time.monotonic()
            self._console.print(text)

    def stop(self) -> None:
        """Show nothing any more."""
        if self._status is not None:
            self._status.stop()


def _detach(options: UpOptions, file: PairFile) -> None:
    """Start the same command in the background, and wait until it serves.

    Raises:
        BadOption: If the pair file is a pipe, which only one process can read.
        AlreadyUp: If a pair of this name is up.
        Unwritable: If its state cannot be written.
        LaunchFailed: If it has ended without a line in its log.
        Exit: If it has ended.
    """
    if not file.path.is_file():
        raise BadOption(
            f"{short_path(file.path)} is not a regular file, and a process in the background "
            "reads it again: write it to a file, or leave out --detach"
        )
    if is_up(file.name):
        raise already_up(file.name)
    log = created_folder(file.name) / OWN_LOG
    with closing(Follower(log)) as follower:  # from the end of what earlier processes wrote
        process, keeper = _background(options, file, log)
        try:
            status = _wait(process, keeper, file.name, follower, log)
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            raise
    if status is not None:
        raise typer.Exit(status or 1)
    name = file.name
    print(f"{name} is up: dreamr logs {name} -f shows its logs, dreamr down {name} ends it")


def _background(
    options: UpOptions, file: PairFile, log: Path
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start the command in a session of its own, with its output in a log of bounded size.

    Returns:
        Its process, and the one that writes its log.
    """
    flags = ["--start-timeout", str(options.start_timeout)]
    flags += [] if options.doctor else ["--no-doctor"]
    command = [sys.executable, "-P", "-m", "dreamr", "up", str(file.path), *flags]
    nothing = subprocess.DEVNULL
    keeper = subprocess.Popen(
        keep_log(log), stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, start_new_session=True
    )
    assert keeper.stdin is not None
    with keeper.stdin as output:
        process = subprocess.Popen(
            command, stdin=nothing, stdout=output, stderr=output, start_new_session=True
        )
    return process, keeper


def _wait(
    process: subprocess.Popen[bytes],
    keeper: subprocess.Popen[bytes],
    name: str,
    follower: Follower,
    log: Path,
) -> int | None:
    """Show the log of a process until it serves; return its exit status if it has ended.

    Args:
        process: The process.
        keeper: The process that writes its log.
        name: Name of the pair.
        follower: Reads the log.
        log: The log, for messages.

    Raises:
        LaunchFailed: If it has ended without a line in its log.
    """
    is_silent = True
    while True:
        ended = process.poll()
        if ended is not None:  # the last lines are read after they are written
            with suppress(subprocess.TimeoutExpired):
                keeper.wait(_LOG_SECONDS)
        for line in follower.lines():
            is_silent = False
            print(line.decode("utf-8", "replace"), file=sys.stderr)
        if ended and is_silent:
            raise LaunchFailed(
                f"{name} ended with status {ended} and nothing in {short_path(log)}: is its disk "
                "full? Without --detach, dreamr up says why"
            )
        if ended is not None:
            return ended
        state = _state(name)
        if state is not None and state.pid == process.pid and state.phase == "serving":
            return None
        time.sleep(_POLL)


def _state(name: str) -> PairState | None:
    with suppress(DreamrError):  # it is written by the other process meanwhile
        return read_state(name)
    return None
