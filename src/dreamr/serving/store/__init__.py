"""State that the replicas of a gateway share: in memory for one process, in Redis for several."""

from dreamr.serving.store.limits import NO_LIMITS, Limits
from dreamr.serving.store.protocol import (
    Appended,
    Attempt,
    Attempts,
    Committed,
    Entered,
    Kind,
    Level,
    NewAttempt,
    Quotas,
    RecordStore,
    Refused,
    RunLogs,
    Store,
    StoredRecord,
    StoredRun,
    StoreLost,
)

__all__ = [
    "NO_LIMITS",
    "Appended",
    "Attempt",
    "Attempts",
    "Committed",
    "Entered",
    "Kind",
    "Level",
    "Limits",
    "NewAttempt",
    "Quotas",
    "RecordStore",
    "Refused",
    "RunLogs",
    "Store",
    "StoreLost",
    "StoredRecord",
    "StoredRun",
]
