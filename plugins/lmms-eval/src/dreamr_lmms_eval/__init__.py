"""dreamr as a model of lmms-eval.

lmms-eval finds it by the entry point `lmms_eval.models`, and imports the model itself only when it
is asked for: `lmms-eval eval --model dreamr --model_args target=...,draft=...`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

__all__ = ["manifest"]


def manifest() -> ModelManifest:
    """What lmms-eval's registry wants to know: the model's name and its chat class."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("dreamr", chat_class_path="dreamr_lmms_eval._model.DreamrChat")
