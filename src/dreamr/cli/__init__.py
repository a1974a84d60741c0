"""The command line: one module a command, thin."""

from dreamr.cli.app import main

__all__ = ["main"]
