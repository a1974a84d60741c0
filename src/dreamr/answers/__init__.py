"""Answers: the form that a caller demands, and the pieces in which a model writes them."""

from dreamr.answers.forms import (
    MAX_TOP_LOGPROBS,
    PLAIN,
    AnswerForm,
    AnswerFormat,
    Choice,
    Grammar,
    JsonObject,
    JsonSchema,
    Regex,
    ToolChoice,
)
from dreamr.answers.logprobs import logprobs_until, starts_of
from dreamr.answers.pieces import (
    AnswerBuilder,
    AnswerPiece,
    CallDelta,
    TokenLogprob,
    WrittenAnswer,
)

__all__ = [
    "MAX_TOP_LOGPROBS",
    "PLAIN",
    "AnswerBuilder",
    "AnswerForm",
    "AnswerFormat",
    "AnswerPiece",
    "CallDelta",
    "Choice",
    "Grammar",
    "JsonObject",
    "JsonSchema",
    "Regex",
    "TokenLogprob",
    "ToolChoice",
    "WrittenAnswer",
    "logprobs_until",
    "starts_of",
]
