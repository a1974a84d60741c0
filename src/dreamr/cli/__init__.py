"""The command line, with one module per command."""

from dreamr.cli.app import main

__all__ = ["main"]
