"""Model families: what is known about a model from its name.

The facts are in `_families.toml`, each recommendation with its source. Other distributions declare
families of their own as entry points in the group `dreamr.families`. Each refers to the path of a
file in the format of `_families.toml`. A server or a model's folder may know better: what is
measured there, such as whether the template opens a thought, comes first.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dreamr._files import read_json
from dreamr._messages import describe
from dreamr._plugins import Installed
from dreamr.errors import ModelNotFound

Thinks = Literal["never", "always", "default", "optional"]

_INSTALLED = Installed("dreamr.families", "table of model families", ModelNotFound)


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorSampling:
    """Sampling that a vendor recommends. None: the vendor does not say.

    Attributes:
        source: Where the vendor says so, such as the name of a model card.
        temperature: Sampling temperature; 0 is greedy.
        top_p: Probability mass from which tokens are drawn.
        top_k: Number of likeliest tokens from which one is drawn.
        min_p: Lowest probability of a drawn token, relative to the likeliest.
        presence_penalty: Subtracted from the logits of tokens in the text so far.
        frequency_penalty: The same, times the number of their occurrences.
        repetition_penalty: Factor that weakens the logits of tokens in prompt and text.
    """

    source: str
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """What the vendor says, by the name of the parameter."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        del given["source"]
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of models.

    Attributes:
        name: Name, for messages; 'unknown' for a model that is not in the table.
        hybrid: Whether servers reuse a prefix only in blocks of hundreds of tokens, or not at all,
            since some layers are recurrent.
        hears: Whether the models are known to take sound.
        thinks: Whether the models think: 'never', 'always', 'default' (unless it is switched off)
            or 'optional' (if it is switched on). None: unknown.
        thinking: Template variables that switch thinking on.
        no_thinking: Template variables that switch thinking off.
        tags: Text before and after a thought, if it consists of special tokens, which servers leave
            out by default. None: tags such as `<think>`, which they keep.
        closing: Text that closes a thought early, as the vendor documents it. None: the tag alone.
        delimiter: End of a step. None: a blank line.
        min_step_tokens: Steps shorter than this are joined with the next one. None: 8 for models
            that may think, else 1.
        prompts: Judge prompts that the models were trained on, by the name of the question in
            `dreamr.engines.prompts.Questions`.
        thinking_sampling: Recommended sampling with a thought; None if there is none.
        sampling: Recommended sampling without a thought; None if there is none.
    """

    name: str = "unknown"
    hybrid: bool = False
    hears: bool = False
    thinks: Thinks | None = None
    thinking: Mapping[str, Any] = field(default_factory=dict)
    no_thinking: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, str] | None = None
    closing: str | None = None
    delimiter: str | None = None
    min_step_tokens: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    thinking_sampling: VendorSampling | None = None
    sampling: VendorSampling | None = None

    @property
    def known(self) -> bool:
        """Whether the model is in the table."""
        return self != UNKNOWN

    @property
    def may_think(self) -> bool:
        """Whether the models may write a thought."""
        return self.thinks in ("always", "default", "optional")

    def recommended(self, thinking: bool | None = None) -> VendorSampling | None:
        """Return the recommended sampling.

        Args:
            thinking: Whether the model writes a thought. None: as the family does by default.
                Families that always think do so in any case.
        """
        if thinking is None or self.thinks == "always":
            thinking = self.thinks in ("always", "default")
        return self.thinking_sampling if thinking else self.sampling


UNKNOWN = Family()


def recognize(name: str, model_type: str | None = None) -> Family:
    """Return the family of a model.

    Args:
        name: Hub ID, served name, path or file name.
        model_type: `model_type` of its config.json, which decides if the name says nothing.

    Returns:
        The family; `UNKNOWN` if neither the name nor the type is in a table.

    Raises:
        ModelNotFound: If the table of another distribution cannot be read.
    """
    known = [*_installed_entries(), *_own_entries()]
    # From the last part on: a folder may lie in one that is named after another model, and in the
    # cache of the hub, the last part is the hash of a revision.
    for part in reversed(re.split(r"[/\\]", name.lower())):
        for family, ids, _ in known:
            if any(pattern.search(part) for pattern in ids):
                return family
    return next((family for family, _, types in known if model_type in types), UNKNOWN)


def recognize_folder(folder: Path) -> Family:
    """Return the family of a model in a folder, by its name and its config.json.

    Raises:
        ModelNotFound: If there is a config.json that cannot be read.
    """
    config = folder / "config.json"
    model_type = None
    if config.is_file():
        model_type = read_json(config, "configuration", ModelNotFound).get("model_type")
    return recognize(str(folder), model_type if isinstance(model_type, str) else None)


_Entry: TypeAlias = tuple[Family, tuple[re.Pattern[str], ...], frozenset[str]]


@cache
def _own_entries() -> tuple[_Entry, ...]:
    text = files("dreamr").joinpath("_families.toml").read_text(encoding="utf-8")
    return tuple(_entries(text))


def _installed_entries() -> Iterator[_Entry]:
    for name in _INSTALLED.names:
        yield from _entries_of(name)


@cache
def _entries_of(name: str) -> tuple[_Entry, ...]:
    """Return the families that another distribution declares under a name."""
    path = str(_INSTALLED.load(name))
    try:
        return tuple(_entries(Path(path).read_text(encoding="utf-8")))
    except Exception as error:  # a file of another distribution: anything can be wrong
        raise ModelNotFound(
            f"table of model families {name!r} cannot be read: {describe(error)}"
        ) from error


def _entries(text: str) -> Iterator[_Entry]:
    for row in tomllib.loads(text)["family"]:
        ids = tuple(re.compile(pattern) for pattern in row.pop("ids"))
        types = frozenset(row.pop("model_types", ()))
        if "tags" in row:
            row["tags"] = tuple(row["tags"])
        for mode in ("thinking_sampling", "sampling"):
            if mode in row:
                row[mode] = VendorSampling(**row[mode])
        yield Family(**row), ids, types
