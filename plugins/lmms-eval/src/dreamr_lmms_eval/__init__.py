"""dreamr as a model of lmms-eval.

lmms-eval finds it through the entry point `lmms_eval.models` and imports the model only when it is
used: `lmms-eval eval --model dreamr --model_args target=...,draft=...`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

__all__ = ["manifest"]


def manifest() -> ModelManifest:
    """Return the name of the model and its chat class, for lmms-eval's registry."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("dreamr", chat_class_path="dreamr_lmms_eval.model.DreamrChat")
