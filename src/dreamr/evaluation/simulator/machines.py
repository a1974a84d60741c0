"""Named models on named devices: rates from `rates.toml`, and what follows for a pair.

Everything in here is a prediction: bandwidth and arithmetic of a device, bytes of a model's
weights, and a few stated efficiencies.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Any

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import BadScenario

COUNTS = (2, 4, 8)  # devices that a target is spread over


@dataclass(frozen=True, slots=True)
class Gpu:
    """bandwidth: TB/s. memory: GB. tflops: dense bfloat16."""

    name: str
    bandwidth: float
    memory: float
    tflops: float
    source: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """total, active: billions of parameters; a token reads the active ones. bits: of a weight."""

    name: str
    total: float
    active: float
    layers: int
    bits: int
    source: str
    experts: bool = False

    @property
    def gigabytes(self) -> float:
        """Of the weights."""
        return self.total * self.bits / 8


@dataclass(frozen=True, slots=True)
class Assumptions:
    """See `rates.toml`."""

    efficiency: float
    expert_efficiency: float
    layer_seconds: float
    read_efficiency: float
    parallel_efficiency: float
    usable_memory: float
    request_seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Table:
    """The rates, and what follows from them.

    checks: measured figures, as they stand in the file.
    """

    assumptions: Assumptions
    gpus: Mapping[str, Gpu]
    models: Mapping[str, ModelSpec]
    checks: tuple[Mapping[str, Any], ...]

    def gpu(self, name: str) -> Gpu:
        """Raises BadScenario: an unknown name; the message lists the known ones."""
        if name not in self.gpus:
            raise BadScenario(f"unknown gpu {name!r}; known: {', '.join(self.gpus)}")
        return self.gpus[name]

    def model(self, name: str) -> ModelSpec:
        """A model by its name, with the bits of a weight behind a colon where they differ.

        Raises:
            BadScenario: an unknown name; the message lists the known ones.
        """
        plain, _, bits = name.partition(":")
        if plain not in self.models:
            raise BadScenario(f"unknown model {plain!r}; known: {', '.join(self.models)}")
        model = self.models[plain]
        if not bits:
            return model
        if bits not in ("4", "8", "16"):
            raise BadScenario(f"a weight has 4, 8 or 16 bits, not {bits!r}: {plain}:4 for example")
        return replace(model, bits=int(bits))

    def token(self, model: ModelSpec, gpu: Gpu, count: int = 1) -> float:
        """Seconds of a decoded token."""
        known = self.assumptions
        efficiency = known.expert_efficiency if model.experts else known.efficiency
        read = model.active * model.bits / 8 / (gpu.bandwidth * 1e3 * efficiency)
        return read / self._speed(count) + model.layers * known.layer_seconds

    def reading(self, model: ModelSpec, gpu: Gpu, count: int = 1) -> float:
        """Seconds of a token that is read, among many."""
        work = 2 * model.active / (gpu.tflops * 1e3 * self.assumptions.read_efficiency)
        return work / self._speed(count)

    def least(self, model: ModelSpec, gpu: Gpu, beside: float = 0.0) -> int:
        """How many devices the model needs, beside so many GB of another: a power of two."""
        usable = gpu.memory * self.assumptions.usable_memory
        needed = ceil((model.gigabytes + beside) / usable)
        return 1 << (needed - 1).bit_length()

    def _speed(self, count: int) -> float:
        return 1.0 if count == 1 else count * self.assumptions.parallel_efficiency


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pair is.

    words: devices of the target and of the draft. target: how many the target has. colocated: the
    draft is on them.
    """

    words: str
    target: int
    colocated: bool

    @property
    def devices(self) -> int:
        """All of them."""
        return self.target if self.colocated else self.target + 1


@dataclass(frozen=True, slots=True)
class ModelPair:
    """A draft and a target on devices of one kind. prompt: tokens of the question and pictures.

    question: tokens of what the target is asked about each step.
    """

    draft: ModelSpec
    target: ModelSpec
    gpu: Gpu
    prompt: int = 1000
    question: int = 20

    def costs(self, count: int) -> Costs:
        """With the target on so many devices, the draft on one; seconds."""
        table, gpu = rates(), self.gpu
        reading = table.reading(self.target, gpu, count)
        token = table.token(self.target, gpu, count)
        return Costs(
            draft=table.token(self.draft, gpu),
            target=token,
            judge=token,  # a pass reads the weights once, as a decoded token does
            judge_step=self.question * reading,
            judge_token=reading,
            prompt_draft=self.prompt * table.reading(self.draft, gpu),
            prompt_target=self.prompt * reading,
            message=table.assumptions.request_seconds,
        )

    @property
    def least(self) -> int:
        """How many devices the target needs for itself."""
        return rates().least(self.target, self.gpu)

    @property
    def fits_on_one(self) -> bool:
        """Whether both fit on one device."""
        return rates().least(self.target, self.gpu, self.draft.gigabytes) == 1

    def placements(self) -> list[Placement]:
        """Where the two can be."""
        places = [Placement("both on 1", 1, colocated=True)] if self.fits_on_one else []
        for count in (1, *COUNTS):
            if count >= self.least:
                places.append(Placement(f"{count} + 1", count, colocated=False))
        return places


def named_pair(pair: str, gpu: str) -> ModelPair:
    """A pair by its names, such as 2B/32B.

    Raises:
        BadScenario: unknown names, or no pair.
    """
    draft, slash, target = pair.partition("/")
    if not slash:
        raise BadScenario(f"--models are a draft and a target, 2B/32B for example, not {pair!r}")
    table = rates()
    return ModelPair(table.model(draft), table.model(target), table.gpu(gpu))


@cache
def rates() -> Table:
    """The table in the package."""
    text = files("dreamr.evaluation.simulator").joinpath("rates.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    known = {item.name: values["assumptions"][item.name] for item in fields(Assumptions)}
    return Table(
        Assumptions(**known),
        {name: Gpu(**row) for name, row in values["gpus"].items()},
        {name: ModelSpec(**row) for name, row in values["models"].items()},
        tuple(values["checks"]),
    )
