"""The errors that dreamr raises on purpose.

All of them derive from `DreamrError`. Each message is one line that says what is wrong and what to
do; the command line prints that line. Any other exception is a bug: please report it.
"""

from __future__ import annotations


class DreamrError(Exception):
    """Base class of all errors that dreamr raises on purpose.

    Catch it to handle every failure that a user can fix or retry. Subclasses in other modules, such
    as `BadOption` for invalid options, are documented there.
    """


class ConversationError(DreamrError):
    """The question, the conversation or an image cannot be used.

    Raised before a model is called: for an empty question, a conversation whose last turn is not
    the user's, or an image that is missing, damaged or too large. Change the input as the message
    says. The subclasses in `dreamr.conversation` tell the reasons apart.
    """


class EngineError(DreamrError):
    """A model engine could not carry out a call.

    Raised if a server refuses a request or sends an invalid response, or if a worker process
    reports an error. Other calls to the same engine may succeed. The subclasses name causes with a
    specific remedy.
    """


class ModelNotFound(EngineError):
    """A model name does not lead to a model that can be loaded.

    Raised when a model is opened: if the folder, Hugging Face ID or installed name does not exist,
    if the server URL is invalid, or if the server does not have a model of that name. Check the
    value of `--target`, `--draft`, `--target-model` or `--draft-model`.
    """


class EngineLost(EngineError):
    """The server or worker process of an engine can no longer be reached.

    Raised if a server does not answer after all retries or denies access, and if a worker process
    has ended. An open `Reasoner` opens a lost model again; other engines stay lost. A run continues
    without a lost draft, but a lost target ends it with `RunFailed`.

    Attributes:
        retry_after: Seconds after which the engine may be usable again, None if unknown.
    """

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ContextTooLong(EngineError):
    """The conversation and the text so far do not fit into the model's context.

    Shorten the question, send fewer or smaller images, or use a model with a longer context.
    """


class Unsupported(DreamrError):
    """A model, server or installation lacks a capability that was requested.

    Raised, for example, for images sent to a text-only model, for audio or video parts, for judging
    at a server without log-probabilities, and for local models without torch. Choose another model,
    server or method, or install the package that the message names.
    """


class RunFailed(DreamrError):
    """A run could not be finished.

    Raised if the target is lost, if the `Reasoner` is closed during the run, if a calibration finds
    no gate that keeps its bound, and by the command line if a limit such as `--max-tokens` cuts the
    run. Fix the cause given in the message and run again.

    Attributes:
        result: The `dreamr.Result` up to the failure, None if there is none.
        lost: Whether the model that led the run is lost. The same run may succeed later.
    """

    def __init__(self, message: str, result: object | None = None) -> None:
        super().__init__(message)
        self.result = result
        self.lost = False


class DeadlinePassed(RunFailed):
    """A run did not end before its deadline.

    Raised if the deadline passed before the run could begin, or during a run with `on_deadline`
    'error'. Allow more time, or let the run end with the best answer so far.
    """


class Unwritable(DreamrError):
    """An output file or folder cannot be written.

    Raised if the path is a folder, a parent is missing or read-only, or the disk is full. Choose
    another path or fix the cause given in the message.
    """
