"""Batches: requests of a file, answered into another file."""

from dreamr.serving.batch.concurrency import Concurrency
from dreamr.serving.batch.errors import BatchError
from dreamr.serving.batch.options import BatchOptions
from dreamr.serving.batch.run import Progress, run_batch
from dreamr.serving.batch.summary import Summary

__all__ = ["BatchError", "BatchOptions", "Concurrency", "Progress", "Summary", "run_batch"]
