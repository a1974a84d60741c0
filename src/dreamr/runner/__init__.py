"""Driving a schedule over engines."""

from dreamr.runner._run import Settings, open_run, run

__all__ = ["Settings", "open_run", "run"]
