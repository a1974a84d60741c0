"""Well-known models, from `known_models.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from dreamr.sizing.architecture import Architecture
from dreamr.sizing.configuration import read_architecture

_BILLION = 10**9


@dataclass(frozen=True, slots=True)
class KnownModel:
    """An entry of the table.

    Attributes:
        ids: Patterns for the lower-case last part of a model's name.
        parameters: Number of all parameters by the model card.
        source: Source of the configuration.
        assumed: What is assumed.
        config: Fields of the configuration.
    """

    ids: tuple[re.Pattern[str], ...]
    parameters: int
    source: str
    assumed: tuple[str, ...]
    config: Mapping[str, Any]


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Return the entries of the table, in order."""
    text = files("dreamr.sizing").joinpath("known_models.toml").read_text(encoding="utf-8")
    return tuple(
        KnownModel(
            tuple(re.compile(pattern) for pattern in row["ids"]),
            round(row["parameters"] * _BILLION),
            row["source"],
            tuple(row.get("assumed", ())),
            row["config"],
        )
        for row in tomllib.loads(text)["model"]
    )


def known_architecture(name: str) -> Architecture | None:
    """Return the architecture of a model by its name, or None if it is not in the table."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()
    for model in known_models():
        if any(pattern.search(last) for pattern in model.ids):
            return read_architecture(
                name,
                model.config,
                source=f"table of known models ({model.source})",
                parameters=model.parameters,
                assumed=model.assumed,
            )
    return None
