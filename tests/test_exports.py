from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import dreamr

ROOMS = ["dreamr", "dreamr.conversation", "dreamr.trace", "dreamr.runner", "dreamr.schedules"]


def test_the_public_surface_is_exactly_this() -> None:
    assert dreamr.__all__ == [
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
        "RunOptions",
        "Text",
        "Turn",
        "Unsupported",
        "__version__",
        "read_image",
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_exports_is_there_and_nothing_else_looks_public(room: str) -> None:
    module = importlib.import_module(room)
    public = {name for name, value in vars(module).items() if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(module, name), type(sys))}
    assert public - modules == {name for name in module.__all__ if not name.startswith("_")}


def test_importing_the_package_and_its_command_line_needs_no_torch() -> None:
    code = "import dreamr, dreamr.cli, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
