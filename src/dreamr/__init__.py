"""dreamr: large multimodal models that reason several times faster.

A small draft model proposes reasoning steps; the large target model judges them, and writes a step
itself where the draft is wrong.
"""

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr._version import __version__
from dreamr.conversation import Conversation, Image, Text, Turn, read_image
from dreamr.errors import (
    ContextTooLong,
    ConversationError,
    DreamrError,
    EngineError,
    EngineLost,
    ModelNotFound,
    RunFailed,
    Unsupported,
)
from dreamr.runner import RunHook
from dreamr.trace import Event, Result

__all__ = [
    "BadOption",
    "ContextTooLong",
    "Conversation",
    "ConversationError",
    "DreamrError",
    "EngineError",
    "EngineLost",
    "Event",
    "Image",
    "ModelNotFound",
    "Reasoner",
    "Result",
    "RunFailed",
    "RunHook",
    "RunOptions",
    "Text",
    "Turn",
    "Unsupported",
    "__version__",
    "read_image",
]
