"""Reader of `recipe.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dreamr_testbed.recipe.data_mix import DataMix
from dreamr_testbed.recipe.models import Size
from dreamr_testbed.suites import EXTRA_SUITES, LEVELS, SUITES

RECIPE = Path(__file__).parent / "recipe.toml"

Table = TypeVar("Table", Size, DataMix, "Stage")


class BadRecipe(ValueError):
    """An invalid recipe file; the message names the place and the problem."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the training.

    Attributes:
        name: Name of the stage.
        kind: 'see' trains the tower to label patches, 'drill' the decoder on drills, 'reason' both
            on solutions. 'compare' trains nothing: it inserts a layer above the `frozen` lowest
            ones, fitted to `steps` batches of examples (see `recipe.comparer`).
        steps: Number of optimizer steps.
        batch: Examples per step.
        rate: Learning rate.
        layers: Layers of the decoder in this stage.
        reading: Share of examples that only transcribe the image.
        easy: Share of examples at level 1, changing linearly to a third over the stage.
        decay: Whether the learning rate decays linearly to 0.
        shares: Relative frequency of each suite.
        levels: Levels of the problems of a suite; see `levels_of`.
        seldom: Kinds of scenes that are already learned; four of five of their problems are
            replaced by new ones.
        drills: Share of examples that are drills, decaying to 0 over the first half.
        errors: Share of examples built around real mistakes of the draft, if there is a pool.
        tower: Learning rate of the tower relative to `rate`, after the stage 'see'.
        frozen: Number of lowest layers that are frozen, together with embeddings and tower.
        branches: `branches` of the data mix in this stage; by default that of the model.
        others: `others` of the data mix in this stage.
        blend: Weight of the trained weights in the result; the rest are the weights before the
            stage. The mean keeps skills that a short stage at a high rate would unlearn.
        best: Number of steps between two measurements of the loss on examples that are not
            trained. A stage that diverges stops, and ends with the weights of the lowest loss. 0:
            it stops without weights.
        lookups: Share of examples that read lines of several images by their places, decaying to 0
            over the first half.
        named: Share of problems whose pages are shown below the name of a file.
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
    shares: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SUITES, 1 / 3))
    levels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seldom: tuple[str, ...] = ()
    drills: float = 0.0
    errors: float = 0.0
    tower: float = 0.05
    frozen: int = 0
    branches: int | None = None
    others: int = 0
    blend: float = 1.0
    best: int = 0
    lookups: float = 0.0
    named: float = 0.0

    def __post_init__(self) -> None:
        """Check names of suites and levels.

        Raises:
            ValueError: If one is unknown.
        """
        known = (*SUITES, *EXTRA_SUITES)
        if unknown := [name for name in (*self.shares, *self.levels) if name not in known]:
            raise ValueError(f"unknown suite {unknown[0]}; known: {', '.join(known)}")
        if wrong := [n for levels in self.levels.values() for n in levels if n not in LEVELS]:
            raise ValueError(f"unknown level {wrong[0]}; known: {', '.join(map(str, LEVELS))}")

    @property
    def single_images(self) -> bool:
        """Whether all problems are of the suites with one image."""
        return self.shares.keys() <= SUITES.keys()

    def data_mix(self, usual: DataMix) -> DataMix:
        """Return the data mix of this stage, given that of the model."""
        branches = usual.branches if self.branches is None else self.branches
        return replace(usual, branches=branches, others=self.others)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe of a model.

    Attributes:
        size: Size of the model after the last stage; earlier stages may have fewer layers.
        data_mix: Composition of the examples.
        stages: Stages in order.
        further: Stages that a finished model can be trained with, in this order; no bundled model
            has had them.
    """

    size: Size
    data_mix: DataMix
    stages: tuple[Stage, ...]
    further: tuple[Stage, ...] = ()

    def with_further(self, name: str | None) -> Recipe:
        """Return the recipe with all further stages up to that of a name at its end, if any."""
        names = [stage.name for stage in self.further]
        count = names.index(name) + 1 if name in names else 0
        return replace(self, stages=self.stages + self.further[:count])


def read_recipes(path: Path = RECIPE) -> dict[str, Recipe]:
    """Read the recipes of all models from a TOML file.

    Raises:
        BadRecipe: If a table or key is unknown or missing, or a value has the wrong type.
    """
    models = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _recipe(name, tables) for name, tables in models.items()}


def levels_of(suite: str, levels: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the levels of the problems of a suite: all, if none are given for it."""
    return levels.get(suite, LEVELS)


def _recipe(name: str, tables: Mapping[str, Any]) -> Recipe:
    _check_keys(tables, Recipe, name)
    return Recipe(
        _read(Size, tables["size"], f"{name}.size"),
        _read(DataMix, tables["data_mix"], f"{name}.data_mix"),
        _stages(tables["stages"], f"{name}.stages"),
        _stages(tables.get("further", ()), f"{name}.further"),
    )


def _stages(tables: Sequence[Mapping[str, Any]], place: str) -> tuple[Stage, ...]:
    return tuple(
        _read(Stage, table, f"{place}, number {number}") for number, table in enumerate(tables, 1)
    )


def _read(kind: type[Table], table: Mapping[str, Any], place: str) -> Table:
    _check_keys(table, kind, place)
    hints = get_type_hints(kind)
    values = {key: _value(value, hints[key], f"{place}: {key}") for key, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise BadRecipe(f"{place}: {error}") from None


def _check_keys(table: Mapping[str, Any], kind: Any, place: str) -> None:
    known = {one.name: one.default is one.default_factory is MISSING for one in fields(kind)}
    if unknown := table.keys() - known:
        raise BadRecipe(f"{place}: unknown {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in table]:
        raise BadRecipe(f"{place}: {', '.join(missing)} missing")


def _value(value: Any, hint: Any, place: str) -> Any:
    """Convert a TOML value to the type of a field: arrays to tuples, integers to floats."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    if get_origin(hint) is Literal:
        fits = value in kinds
    elif get_origin(hint) is tuple:
        fits = isinstance(value, list) and (Ellipsis in kinds or len(value) == len(kinds))
        value = tuple(_value(each, kinds[0], place) for each in value) if fits else value
    elif get_origin(hint) is Mapping:
        fits = isinstance(value, dict)
        if fits:
            value = {key: _value(v, kinds[1], f"{place}.{key}") for key, v in value.items()}
    elif hint is float:
        fits = type(value) in (int, float)
        value = float(value) if fits else value
    else:
        fits = type(value) in (kinds or [hint])
    if not fits:
        wanted = hint.__name__ if isinstance(hint, type) else str(hint)
        raise BadRecipe(f"{place}: {value!r} is not of type {wanted}")
    return value
