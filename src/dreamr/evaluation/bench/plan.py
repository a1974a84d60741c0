"""The plan of a bench: which methods solve which problems, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any, get_args

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr.engines.protocol import DType
from dreamr.errors import Unsupported
from dreamr.evaluation.bench.presets import presets
from dreamr.evaluation.tasks import Item, Items, load
from dreamr.steps import Role

Key = tuple[str, int, str, int]  # see `Sample.key`

# Options on which the schedule of a run depends. Those of the gate and of the models do not matter
# for a replay of its steps and verdicts.
_OF_SCHEDULE = (
    *("window", "fallback", "deterministic", "final_answer", "judge_batch", "resamples"),
    *("max_steps", "max_tokens", "target"),
)


class PlannedProblem:
    """A problem whose images are not drawn or read before they are needed.

    Attributes:
        task: Name of the task.
        index: Number of the problem in its task.
    """

    def __init__(self, task: str, items: Items, place: int) -> None:
        """Name a problem: the one at index `place` of `items`."""
        self.task, self.index = task, items.numbers[place]
        self._items, self._place = items, place

    @cached_property
    def item(self) -> Item:
        """The problem itself."""
        return self._items[self._place]


@dataclass(frozen=True, slots=True)
class Batch:
    """Problems that one method solves concurrently, `concurrency` at a time."""

    method: str
    concurrency: int
    problems: tuple[PlannedProblem, ...]

    def keys(self) -> list[Key]:
        """Return the keys of the samples of this batch."""
        return [(one.task, one.index, self.method, self.concurrency) for one in self.problems]


@dataclass(frozen=True, slots=True)
class Plan:
    """The methods and problems of a bench.

    Attributes:
        tasks: Names of tasks.
        methods: Names of presets.
        limit: Number of problems per task.
        seed: Seed of the problems and of the order of the methods.
        concurrency: Numbers of problems solved concurrently; the whole bench runs once per number.
        options: Models and limits, the same for all methods.
        sources: Files of published tasks, by task.

    Raises:
        Unsupported: If a method is unknown or given twice, or there is nothing to do.
        BadOption: If a method needs a profile and the options name none.
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
                raise BadOption(f"method {name} needs --profile")
        for name in ("tasks", "methods", "concurrency"):
            values = getattr(self, name)
            if not values:
                raise Unsupported(f"{name}: name at least one")
            if len(set(values)) < len(values):
                raise Unsupported(f"{name}: {', '.join(map(str, values))} contains duplicates")
        if self.limit < 1 or min(self.concurrency) < 1:
            raise Unsupported("limit and concurrency must be at least 1")

    @property
    def roles(self) -> frozenset[Role]:
        """Roles of the models that the methods use."""
        found = presets(self.methods).values()
        return frozenset(role for one in found for role in one.options(self.options).roles)

    def on_devices_of(self, config: Mapping[str, Any]) -> Plan:
        """Return the plan on the devices of a bench that it continues, where it leaves them open.

        All samples of a bench come from the same devices.

        Args:
            config: Configuration of that bench, as `to_json` returns it; empty if there is none.
        """
        stored = config.get("options")
        options = stored if isinstance(stored, dict) else {}
        devices = {
            name: options[name]
            for name in ("device", "draft_device")
            if getattr(self.options, name) == "auto" and isinstance(options.get(name), str)
        }
        return replace(self, options=replace(self.options, **devices))

    def in_dtypes_of(self, stored: Mapping[str, str]) -> Plan:
        """Return the plan in the data types of a bench that it continues, where it says auto.

        All samples of a bench come from the same data types.

        Args:
            stored: Data types of that bench by role; see `Folder.dtypes`.
        """

        def of(role: Role) -> Any:
            named, there = self.options.source(role).dtype, stored.get(role)
            return there if named == "auto" and there in get_args(DType) else named

        options = replace(self.options, dtype=of("target"), draft_dtype=of("draft"))
        return replace(self, options=options)

    def batches(self) -> Iterator[Batch]:
        """Yield all batches; the methods alternate in an order that is drawn for each batch.

        At concurrency 1 a batch is one problem. At concurrency n > 1 it is 4n problems of all
        tasks, so that n of them are running most of the time.
        """
        loaded = self._load()
        for concurrency in self.concurrency:
            size = 1 if concurrency == 1 else 4 * concurrency
            problems = _interleave(loaded)
            while batch := tuple(islice(problems, size)):
                first = batch[0]
                rng = Random(f"{self.seed}/{first.task}/{first.index}/{concurrency}")
                for method in rng.sample(self.methods, len(self.methods)):
                    yield Batch(method, concurrency, batch)

    def keys(self) -> frozenset[Key]:
        """Return the keys of all samples of the complete bench."""
        return frozenset(
            (task, index, method, concurrency)
            for task, items in self._load().items()
            for index in items.numbers
            for method in self.methods
            for concurrency in self.concurrency
        )

    def samples(self) -> int:
        """Return the number of samples of the complete bench."""
        return len(self.keys())

    def _load(self) -> dict[str, Items]:
        return {
            task: load(task, limit=self.limit, seed=self.seed, source=self.sources.get(task))
            for task in self.tasks
        }

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values for config.yaml."""
        return {
            "version": 1,
            "tasks": list(self.tasks),
            "methods": list(self.methods),
            "limit": self.limit,
            "seed": self.seed,
            "concurrency": list(self.concurrency),
            "sources": dict(self.sources),
            "options": self.options.to_json(),
        }


def schedule_options(config: Mapping[str, Any]) -> RunOptions:
    """Return the stored options of a bench on which its schedules depend, the others by default.

    Args:
        config: Configuration of the bench, as `Plan.to_json` returns it; empty if there is none.

    Raises:
        BadOption: If one of them is invalid.
    """
    stored = config.get("options")
    if not isinstance(stored, dict):
        return RunOptions()
    return RunOptions(**{name: stored[name] for name in _OF_SCHEDULE if name in stored})


def _interleave(loaded: Mapping[str, Items]) -> Iterator[PlannedProblem]:
    """Yield the first problem of each task, then the second of each, and so on."""
    for place in range(max(map(len, loaded.values()))):
        for task, items in loaded.items():
            if place < len(items):
                yield PlannedProblem(task, items, place)
