"""Batches: requests of a file, answered into another file."""

from dreamr.serving.batch.concurrency import Concurrency
from dreamr.serving.batch.errors import BatchError, FileInUse
from dreamr.serving.batch.journal import Journal
from dreamr.serving.batch.options import BatchOptions
from dreamr.serving.batch.requests import (
    BatchRequest,
    InvalidRequest,
    count_requests,
    read_requests,
)
from dreamr.serving.batch.run import Batch, Progress, read_ahead
from dreamr.serving.batch.summary import Summary

__all__ = [
    "Batch",
    "BatchError",
    "BatchOptions",
    "BatchRequest",
    "Concurrency",
    "FileInUse",
    "InvalidRequest",
    "Journal",
    "Progress",
    "Summary",
    "count_requests",
    "read_ahead",
    "read_requests",
]
