"""Runner: drive a schedule over engines and record what happens."""

from dreamr.runner.config import RunConfig, view_of
from dreamr.runner.hooks import RunHook, RunScope
from dreamr.runner.recorder import event_of
from dreamr.runner.requirements import check_engines
from dreamr.runner.runs import open_run, run
from dreamr.runner.signal_queue import SignalQueue

__all__ = [
    "RunConfig",
    "RunHook",
    "RunScope",
    "SignalQueue",
    "check_engines",
    "event_of",
    "open_run",
    "run",
    "view_of",
]
