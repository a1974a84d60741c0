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
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers")  # that tell models apart


@dataclass(frozen=True, slots=True)
class KnownModel:
    """An entry of the table.

    Attributes:
        ids: Patterns for the lower-case last part of a model's name, or for the whole lower-case
            name if they contain a slash.
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
    model = _by_name(name)
    if model is None:
        return None
    return read_architecture(
        name,
        model.config,
        source=f"table of known models ({model.source})",
        parameters=model.parameters,
        assumed=model.assumed,
    )


def completed(name: str, config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a configuration with the fields that it leaves out, from the table.

    Libraries write only what differs from the defaults of a model's class. The entry is that of the
    name or, for a folder of another name, one of the same kind and sizes.

    Args:
        name: Hub id or folder of the model.
        config: Content of its config.json. What it says is kept.

    Returns:
        The configuration; None if the table has no such model.
    """
    named = _by_name(name)
    found = [*((named,) if named else ()), *known_models()]
    fitting = (one.config for one in found if _fits(config, one.config, by_name=one is named))
    entry = next(fitting, None)
    if entry is None:
        return None
    # Weights of any number of bits have the same sizes, and the configuration says if they are few.
    sizes = {key: value for key, value in entry.items() if key != "quantization_config"}
    return _merged(sizes, config)


def _by_name(name: str) -> KnownModel | None:
    whole = name.replace("\\", "/").rstrip("/").lower()
    last = whole.rsplit("/", 1)[-1]
    named = (
        model
        for model in known_models()
        if any(one.search(whole if "/" in one.pattern else last) for one in model.ids)
    )
    return next(named, None)


def _fits(config: Mapping[str, Any], entry: Mapping[str, Any], *, by_name: bool) -> bool:
    """Return whether a configuration has the sizes of an entry, as far as it names them."""
    text, known = _text(config), _text(entry)
    pairs = [(text.get(size), known.get(size)) for size in _SIZES]
    if any(given is not None and given != expected for given, expected in pairs):
        return False
    is_kind = config.get("model_type") == entry.get("model_type")
    return by_name or (is_kind and all(given is not None for given, _ in pairs))


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    part = config.get("text_config")
    return part if isinstance(part, Mapping) and part else config


def _merged(entry: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(entry)
    for key, value in config.items():
        known = entry.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(known, value)
        elif value is not None:
            merged[key] = value
    return merged
