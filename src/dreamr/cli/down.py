"""`dreamr down`: end a pair that is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from dreamr._option_specs import OptionSpec
from dreamr.cli import interrupts
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.cli.screen import stderr_console
from dreamr.serving.launch.down import bring_down, name_of

EPILOG = epilog(
    "dreamr down pair.yaml", "dreamr down invoices", notes=("Guide: docs/guides/launch.md",)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownOptions:
    """Arguments and options of `dreamr down`."""

    name: Annotated[
        str, OptionSpec("Name of the pair, or its pair file.", "Arguments", positional=True)
    ]
    timeout: Annotated[
        float,
        OptionSpec("Seconds for running requests to finish before the kill.", "Options", 0, 86400),
    ] = 60.0


def down_command() -> Callable[..., None]:
    """Return the command."""
    return command(_down, Declared(DownOptions))


def _down(options: DownOptions) -> None:
    """End a pair that dreamr up has started, with all its servers.

    Also ends servers that were left by a dreamr up that was killed.
    """
    show = stderr_console().print
    interrupts.run(bring_down, name_of(options.name), options.timeout, show)
