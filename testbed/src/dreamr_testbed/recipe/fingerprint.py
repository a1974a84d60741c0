"""Hash of a recipe, which a trained model carries in its configuration."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from dreamr_testbed.recipe.plan import Recipe, Stage
from dreamr_testbed.recipe.tokens import CHAT_TEMPLATE, DELIMITER, NEGATIVE, POSITIVE, QUESTIONS
from dreamr_testbed.suites import SUITES


def fingerprint(recipe: Recipe) -> str:
    """Return a hash of everything in a recipe that affects the trained model."""
    parts = {
        "size": asdict(recipe.size),
        "stages": [_hashed(stage) for stage in recipe.stages],
        "diet": asdict(recipe.data_mix),  # kept: the key is part of the hash in the bundled models
        "words": [CHAT_TEMPLATE, *QUESTIONS.values(), POSITIVE, NEGATIVE, DELIMITER],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _hashed(stage: Stage) -> dict[str, Any]:
    """Return what the hash depends on, in the form that the bundled models were trained with.

    Fields that came later are left out where they have no effect, and shares of the first three
    suites are a list.
    """
    later = ("best", "levels", "lookups", "named")
    values = {name: value for name, value in asdict(stage).items() if name not in later or value}
    if list(stage.shares) == list(SUITES):
        values["shares"] = list(stage.shares.values())
    return values
