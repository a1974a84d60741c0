"""Driving a schedule over engines."""

from dreamr.runner._run import open_run, run
from dreamr.runner._settings import Settings

__all__ = ["Settings", "open_run", "run"]
