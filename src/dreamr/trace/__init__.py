"""The record of a run."""

from dreamr.steps import Role
from dreamr.trace.events import (
    CommittedStep,
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    LaneResumed,
    ModelUsage,
    Note,
    Option,
    Result,
    RunFinished,
    RunStarted,
    StepCommitted,
    StepDiscarded,
    StepReady,
    StepRejected,
    Usage,
)
from dreamr.trace.html import timeline_html
from dreamr.trace.jsonl import (
    TraceError,
    event_from_json,
    event_to_json,
    read_trace,
    write_trace,
)
from dreamr.trace.lanes import Bar, Fate, LaneName, lay_out
from dreamr.trace.usage import usage_of

__all__ = [
    "Bar",
    "CommittedStep",
    "Event",
    "Fate",
    "JudgeEnded",
    "JudgeStarted",
    "LaneClosed",
    "LaneName",
    "LaneOpened",
    "LanePaused",
    "LaneResumed",
    "ModelUsage",
    "Note",
    "Option",
    "Result",
    "Role",
    "RunFinished",
    "RunStarted",
    "StepCommitted",
    "StepDiscarded",
    "StepReady",
    "StepRejected",
    "TraceError",
    "Usage",
    "event_from_json",
    "event_to_json",
    "lay_out",
    "read_trace",
    "timeline_html",
    "usage_of",
    "write_trace",
]
