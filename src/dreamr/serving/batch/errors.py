"""Errors of batches."""

from __future__ import annotations

from dreamr.errors import DreamrError


class BatchError(DreamrError):
    """The file of requests cannot be read, or the file of answers belongs to other requests."""


class FileInUse(BatchError):
    """Another process writes the file of answers."""
