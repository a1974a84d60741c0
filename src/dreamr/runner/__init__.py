"""Runner: drive a schedule over engines and record what happens."""

from dreamr.runner.config import RunConfig, view_of
from dreamr.runner.deadline import Deadline, OnDeadline, deadline_of
from dreamr.runner.hooks import RunHook, RunScope
from dreamr.runner.recorder import event_of
from dreamr.runner.requirements import check_engines, dtypes_of
from dreamr.runner.run_time import RunTime, run_time
from dreamr.runner.runs import open_run, run
from dreamr.runner.signal_queue import SignalQueue

__all__ = [
    "Deadline",
    "OnDeadline",
    "RunConfig",
    "RunHook",
    "RunScope",
    "RunTime",
    "SignalQueue",
    "check_engines",
    "deadline_of",
    "dtypes_of",
    "event_of",
    "open_run",
    "run",
    "run_time",
    "view_of",
]
