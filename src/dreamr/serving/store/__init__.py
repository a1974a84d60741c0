"""State that the replicas of a gateway share: in memory for one process, in Redis for several."""

from dreamr.serving.store.limits import NO_LIMITS, Limits
from dreamr.serving.store.protocol import (
    Appended,
    Entered,
    Kind,
    Level,
    Quotas,
    Record,
    Records,
    RunLogs,
    Store,
    StoredRun,
    StoreLost,
)

__all__ = [
    "NO_LIMITS",
    "Appended",
    "Entered",
    "Kind",
    "Level",
    "Limits",
    "Quotas",
    "Record",
    "Records",
    "RunLogs",
    "Store",
    "StoreLost",
    "StoredRun",
]
