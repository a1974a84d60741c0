"""The command line, with one module per command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreamr.engines import OpenModel

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, *, open_model: OpenModel | None = None) -> int:
    """Run a command line and return its exit status.

    Args:
        argv: Arguments without the program's name. None: those of the process, whose signals and
            standard streams are then handled too.
        open_model: Opens the models of all commands. None: as their options say.
    """
    if argv is None:
        from dreamr.cli import interrupts  # before the imports that take time

        interrupts.install()
    from dreamr.cli.app import run_app

    return run_app(argv, open_model)
