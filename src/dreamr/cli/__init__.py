"""The command line: one module a command, thin."""

from dreamr.cli._app import main

__all__ = ["main"]
