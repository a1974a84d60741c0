"""What a bench is to do, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr.errors import Unsupported
from dreamr.evaluation.bench.presets import presets
from dreamr.evaluation.tasks import Item, Items, load

Key = tuple[str, int, str, int]  # of a sample


class PlannedProblem:
    """A problem by its task and number; its picture is drawn or read when it is first needed."""

    def __init__(self, task: str, items: Items, place: int) -> None:
        self.task, self.index = task, items.numbers[place]
        self._items, self._place = items, place

    @cached_property
    def item(self) -> Item:
        return self._items[self._place]


@dataclass(frozen=True, slots=True)
class Batch:
    """Problems that one method solves side by side, `concurrency` at a time."""

    method: str
    concurrency: int
    problems: tuple[PlannedProblem, ...]

    def keys(self) -> list[Key]:
        """Of the samples that it gives."""
        return [(one.task, one.index, self.method, self.concurrency) for one in self.problems]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which methods on which problems.

    limit: problems of each task. seed: of the problems and of the order of the methods.
    concurrency: how many problems are under way side by side, one number after the other.
    options: models and limits, the same for all methods. sources: files of published tasks.

    Raises:
        Unsupported: an unknown method, or the same one twice; nothing to do.
        BadOption: a method needs a profile, and there is none.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    limit: int
    seed: int = 0
    concurrency: tuple[int, ...] = (1,)
    options: RunOptions = field(default_factory=RunOptions)
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, preset in presets(self.methods).items():
            if preset.profiled and self.options.profile is None:
                raise BadOption(f"method {name} needs the --profile whose gate it takes")
        for name in ("tasks", "methods", "concurrency"):
            values = getattr(self, name)
            if not values:
                raise Unsupported(f"{name}: name at least one")
            if len(set(values)) < len(values):
                raise Unsupported(f"{name}: {', '.join(map(str, values))} has one of them twice")
        if self.limit < 1 or min(self.concurrency) < 1:
            raise Unsupported("limit and concurrency must be at least 1")

    def batches(self) -> Iterator[Batch]:
        """All that is to be done; the methods take turns, in an order that is drawn each time.

        With one problem at a time a batch is one problem; with more it is four times as many, of
        all tasks, so that the machine is full for most of the time.
        """
        loaded = self._load()
        for side_by_side in self.concurrency:
            size = 1 if side_by_side == 1 else 4 * side_by_side
            problems = _in_turns(loaded)
            while batch := tuple(islice(problems, size)):
                first = batch[0]
                rng = Random(f"{self.seed}/{first.task}/{first.index}/{side_by_side}")
                for method in rng.sample(self.methods, len(self.methods)):
                    yield Batch(method, side_by_side, batch)

    def samples(self) -> int:
        """How many samples there will be."""
        problems = sum(map(len, self._load().values()))
        return problems * len(self.methods) * len(self.concurrency)

    def _load(self) -> dict[str, Items]:
        return {
            task: load(task, limit=self.limit, seed=self.seed, source=self.sources.get(task))
            for task in self.tasks
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values, for config.yaml."""
        return {
            "version": 1,
            "tasks": list(self.tasks),
            "methods": list(self.methods),
            "limit": self.limit,
            "seed": self.seed,
            "concurrency": list(self.concurrency),
            "sources": dict(self.sources),
            "options": asdict(self.options),
        }


def _in_turns(loaded: Mapping[str, Items]) -> Iterator[PlannedProblem]:
    """The first problem of each task, then the second of each, and so on."""
    for place in range(max(map(len, loaded.values()))):
        for task, items in loaded.items():
            if place < len(items):
                yield PlannedProblem(task, items, place)
