"""The recipe as data: `recipe.toml`, read into dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dreamr_testbed.recipe.data_mix import DataMix
from dreamr_testbed.recipe.models import Size

RECIPE = Path(__file__).parent / "recipe.toml"

Table = TypeVar("Table", Size, DataMix, "Stage")


class BadRecipe(ValueError):
    """The file is not a recipe; the message names the place and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `steps` optimizer steps at one learning rate, or falling to nothing (`decay`).

    kind: 'see' trains the tower to name patches, 'drill' the decoder on drills alone, 'reason'
    both on solutions. 'compare' trains nothing: above the `frozen` lowest layers it puts one that
    is fitted to `steps` batches of examples (testbed/src/dreamr_testbed/recipe/comparer.py).

    layers: depth of the decoder in this stage; reading: share of examples that only read the
    picture out; easy: share of examples at level 1, falling linearly to a third over the stage.
    shares: of problems of docmath, story and vqa. seldom: kinds of scenes that are known well
    already; four of five of their problems are drawn anew.
    drills: share of examples that are drills, falling to nothing over the first half.
    tower: the tower's part of the rate, once it has learnt to see.
    frozen: so many of the lowest layers stay as they are, and with them all that lies below.
    branches: what the model's data mix says, unless it is given here; others: as in a data mix.
    blend: the stage ends with so much of its weights and the rest of those that it began with: a
    short stage at a high rate finds what it is after, and the mean forgets nothing for it.
    errors: share of examples built around mistakes that the draft really made, where known.
    """

    name: str
    kind: Literal["see", "drill", "reason", "compare"]
    steps: int
    batch: int
    rate: float
    layers: int
    reading: float = 0.0
    easy: float = 1 / 3
    decay: bool = False
    shares: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    seldom: tuple[str, ...] = ()
    drills: float = 0.0
    errors: float = 0.0
    tower: float = 0.05
    frozen: int = 0
    branches: int | None = None
    others: int = 0
    blend: float = 1.0

    def data_mix(self, usual: DataMix) -> DataMix:
        """The data mix of this stage, for a model that usually has another."""
        branches = usual.branches if self.branches is None else self.branches
        return replace(usual, branches=branches, others=self.others)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made. Stages differ in depth: the size is that of the last."""

    size: Size
    data_mix: DataMix
    stages: tuple[Stage, ...]


def read_recipes(path: Path = RECIPE) -> dict[str, Recipe]:
    """The recipes in a TOML file, by the names of their models.

    Raises:
        BadRecipe: a table or key is unknown or missing, or a value has another type.
    """
    models = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _recipe(name, tables) for name, tables in models.items()}


def _recipe(name: str, tables: Mapping[str, Any]) -> Recipe:
    _check_keys(tables, Recipe, name)
    stages = enumerate(tables["stages"], 1)
    return Recipe(
        _read(Size, tables["size"], f"{name}.size"),
        _read(DataMix, tables["data_mix"], f"{name}.data_mix"),
        tuple(_read(Stage, table, f"{name}.stages, number {number}") for number, table in stages),
    )


def _read(kind: type[Table], table: Mapping[str, Any], place: str) -> Table:
    _check_keys(table, kind, place)
    hints = get_type_hints(kind)
    return kind(
        **{key: _value(value, hints[key], f"{place}: {key}") for key, value in table.items()}
    )


def _check_keys(table: Mapping[str, Any], kind: Any, place: str) -> None:
    known = {field.name: field.default is MISSING for field in fields(kind)}
    if unknown := table.keys() - known:
        raise BadRecipe(f"{place}: unknown {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in table]:
        raise BadRecipe(f"{place}: {', '.join(missing)} missing")


def _value(value: Any, hint: Any, place: str) -> Any:
    """A value of TOML as the field's type has it: arrays become tuples, whole numbers floats."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    if get_origin(hint) is Literal:
        fits = value in kinds
    elif get_origin(hint) is tuple:
        fits = isinstance(value, list) and (Ellipsis in kinds or len(value) == len(kinds))
        value = tuple(_value(each, kinds[0], place) for each in value) if fits else value
    elif hint is float:
        fits = type(value) in (int, float)
        value = float(value) if fits else value
    else:
        fits = type(value) in (kinds or [hint])
    if not fits:
        wanted = hint.__name__ if isinstance(hint, type) else str(hint)
        raise BadRecipe(f"{place}: {value!r} is not of type {wanted}")
    return value
