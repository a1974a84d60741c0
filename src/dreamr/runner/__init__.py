"""Driving a schedule over engines."""

from dreamr.runner.config import Settings
from dreamr.runner.recorder import decision
from dreamr.runner.runs import open_run, run
from dreamr.runner.signal_queue import Mailbox

__all__ = ["Mailbox", "Settings", "decision", "open_run", "run"]
