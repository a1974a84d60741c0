"""dreamr: speculative reasoning for large multimodal models.

A small draft model proposes reasoning steps. The large target model judges them, and writes a step
itself if the draft is wrong.

Names are imported on first use, so that `import dreamr` and short commands are fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dreamr._version import __version__

if TYPE_CHECKING:
    from dreamr._option_specs import BadOption
    from dreamr._options import RunOptions
    from dreamr._reasoner import Reasoner
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

_NAMES = {
    "dreamr._option_specs": ("BadOption",),
    "dreamr._options": ("RunOptions",),
    "dreamr._reasoner": ("Reasoner",),
    "dreamr.conversation": (
        "Conversation",
        "Image",
        "Text",
        "Turn",
        "read_image",
    ),
    "dreamr.errors": (
        "ContextTooLong",
        "ConversationError",
        "DreamrError",
        "EngineError",
        "EngineLost",
        "ModelNotFound",
        "RunFailed",
        "Unsupported",
    ),
    "dreamr.runner": ("RunHook",),
    "dreamr.trace": (
        "Event",
        "Result",
    ),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'dreamr' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
