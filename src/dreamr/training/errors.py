"""What can be wrong with a training."""

from __future__ import annotations

from dreamr.errors import DreamrError


class BadTraining(DreamrError):
    """A training that cannot begin or go on; the message says what to change."""
