"""The tree of errors that dreamr raises on purpose.

The command line prints one line of them; everything else is a defect. A message says what is
wrong and what to do about it, in one line.
"""

from __future__ import annotations


class DreamrError(Exception):
    """Base of all errors raised on purpose."""


class ConversationError(DreamrError):
    """The user's input cannot be used."""


class EngineError(DreamrError):
    """An engine could not do what it was asked."""


class ModelNotFound(EngineError):
    """The model path or id leads to no loadable model."""


class EngineLost(EngineError):
    """The engine, or its worker process, is gone; no further call can succeed."""


class ContextTooLong(EngineError):
    """Conversation and prefix leave no room in the model's context."""


class Unsupported(DreamrError):
    """A capability that was asked for is missing."""


class RunFailed(DreamrError):
    """The run could not be finished; `result` holds everything up to the failure, if anything."""

    def __init__(self, message: str, result: object | None = None) -> None:
        super().__init__(message)
        self.result = result


class Unwritable(DreamrError):
    """A file or a folder that was asked for cannot be written."""
