"""Driving a schedule over engines."""

from dreamr.runner._mailbox import Mailbox
from dreamr.runner._record import decision
from dreamr.runner._run import open_run, run
from dreamr.runner._settings import Settings

__all__ = ["Mailbox", "Settings", "decision", "open_run", "run"]
