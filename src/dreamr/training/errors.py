"""Errors of trainings."""

from __future__ import annotations

from dreamr.errors import DreamrError


class BadTraining(DreamrError):
    """A training that cannot start or resume; the message says what to change."""
