"""Costs of named models on named devices, derived from `rates.toml`.

Everything here is a prediction from the bandwidth and arithmetic of a device, the bytes of a
model's weights, and the efficiencies stated in `rates.toml`.
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

COUNTS = (2, 4, 8)  # devices per target under tensor parallelism


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device.

    Attributes:
        name: Name of the product.
        bandwidth: Memory bandwidth in TB/s (10^12 bytes per second).
        memory: Memory in GB (10^9 bytes).
        tflops: Dense bfloat16 arithmetic in 10^12 FLOP per second.
        source: Source of the figures.
    """

    name: str
    bandwidth: float
    memory: float
    tflops: float
    source: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model.

    Attributes:
        name: Name of the model.
        total: Parameters in billions.
        active: Parameters in billions that one token reads.
        layers: Number of layers.
        bits: Bits per weight.
        source: Source of the figures.
        experts: Whether it is a mixture of experts.
    """

    name: str
    total: float
    active: float
    layers: int
    bits: int
    source: str
    experts: bool = False

    @property
    def gigabytes(self) -> float:
        """Size of the weights in GB (10^9 bytes)."""
        return self.total * self.bits / 8


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Assumed efficiencies and overheads; `rates.toml` documents the values.

    Attributes:
        efficiency: Share of the bandwidth that decoding reaches in dense models, in (0, 1].
        expert_efficiency: The same in mixtures of experts.
        layer_seconds: Seconds per layer and decoded token beyond reading the weights.
        read_efficiency: Share of the arithmetic that prefill reaches, in (0, 1].
        parallel_efficiency: Tensor-parallel efficiency, in (0, 1].
        usable_memory: Share of a device's memory for weights and caches, in (0, 1].
        request_seconds: Seconds of a request to an engine over HTTP and its response.
        source: Source of the values.
    """

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
    """The rates, and the costs that follow from them.

    Attributes:
        assumptions: Assumed efficiencies and overheads.
        gpus: Devices by name.
        models: Models by name.
        checks: Measured figures from `rates.toml`, unchanged.
    """

    assumptions: Assumptions
    gpus: Mapping[str, Gpu]
    models: Mapping[str, ModelSpec]
    checks: tuple[Mapping[str, Any], ...]

    def gpu(self, name: str) -> Gpu:
        """Return the device of this name.

        Raises:
            BadScenario: If the name is unknown.
        """
        if name not in self.gpus:
            raise BadScenario(f"unknown GPU {name!r}; known: {', '.join(self.gpus)}")
        return self.gpus[name]

    def model(self, name: str) -> ModelSpec:
        """Return a model by its name; `:4` after it sets the bits per weight.

        Raises:
            BadScenario: If the name is unknown or the bits are not 4, 8 or 16.
        """
        plain, _, bits = name.partition(":")
        if plain not in self.models:
            raise BadScenario(f"unknown model {plain!r}; known: {', '.join(self.models)}")
        model = self.models[plain]
        if not bits:
            return model
        if bits not in ("4", "8", "16"):
            raise BadScenario(f"weights have 4, 8 or 16 bits, not {bits!r}: {plain}:4 for example")
        return replace(model, bits=int(bits))

    def token(self, model: ModelSpec, gpu: Gpu, count: int = 1) -> float:
        """Return the seconds of a decoded token on `count` devices.

        The weights are read once per token: bytes / (bytes per second * efficiency). Only this part
        shrinks with more devices.
        """
        known = self.assumptions
        efficiency = known.expert_efficiency if model.experts else known.efficiency
        read = model.active * model.bits / 8 / (gpu.bandwidth * 1e3 * efficiency)
        return read / self._speed(count) + model.layers * known.layer_seconds

    def reading(self, model: ModelSpec, gpu: Gpu, count: int = 1) -> float:
        """Return the seconds of a prefilled token among many on `count` devices.

        A token takes 2 FLOP per active parameter.
        """
        work = 2 * model.active / (gpu.tflops * 1e3 * self.assumptions.read_efficiency)
        return work / self._speed(count)

    def least(self, model: ModelSpec, gpu: Gpu, beside: float = 0.0) -> int:
        """Return the number of devices that a model needs, a power of two.

        Args:
            model: The model.
            gpu: The devices.
            beside: GB of weights of another model on the same devices.
        """
        usable = gpu.memory * self.assumptions.usable_memory
        needed = ceil((model.gigabytes + beside) / usable)
        return 1 << (needed - 1).bit_length()

    def _speed(self, count: int) -> float:
        return 1.0 if count == 1 else count * self.assumptions.parallel_efficiency


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices of a pair.

    Attributes:
        label: Devices of the target and of the draft, such as "2 + 1".
        target: Devices of the target.
        colocated: Whether the draft runs on the target's devices.
    """

    label: str
    target: int
    colocated: bool

    @property
    def devices(self) -> int:
        """Number of devices of both models."""
        return self.target if self.colocated else self.target + 1


@dataclass(frozen=True, slots=True)
class ModelPair:
    """A draft and a target on devices of one kind.

    Attributes:
        draft: The draft.
        target: The target.
        gpu: The kind of device.
        prompt: Tokens of the prompt, images included.
        question: Tokens of the judge prompt per step.
    """

    draft: ModelSpec
    target: ModelSpec
    gpu: Gpu
    prompt: int = 1000
    question: int = 20

    def costs(self, count: int) -> Costs:
        """Return the costs, in seconds, with the target on `count` devices and the draft on one."""
        table, gpu = rates(), self.gpu
        reading = table.reading(self.target, gpu, count)
        token = table.token(self.target, gpu, count)
        return Costs(
            draft=table.token(self.draft, gpu),
            target=token,
            judge=token,  # a forward pass reads the weights once, like a decoded token
            judge_step=self.question * reading,
            judge_token=reading,
            prompt_draft=self.prompt * table.reading(self.draft, gpu),
            prompt_target=self.prompt * reading,
            message=table.assumptions.request_seconds,
        )

    @property
    def least(self) -> int:
        """Number of devices that the target needs."""
        return rates().least(self.target, self.gpu)

    @property
    def fits_on_one(self) -> bool:
        """Whether both models fit on one device."""
        return rates().least(self.target, self.gpu, self.draft.gigabytes) == 1

    def placements(self) -> list[Placement]:
        """Return the placements that have enough memory."""
        places = [Placement("both on 1", 1, colocated=True)] if self.fits_on_one else []
        for count in (1, *COUNTS):
            if count >= self.least:
                places.append(Placement(f"{count} + 1", count, colocated=False))
        return places


def named_pair(pair: str, gpu: str) -> ModelPair:
    """Return a pair by the names of its models, such as 2B/32B.

    Raises:
        BadScenario: If a name is unknown or `pair` does not contain two.
    """
    draft, slash, target = pair.partition("/")
    if not slash:
        raise BadScenario(f"--models takes a draft and a target, 2B/32B for example, not {pair!r}")
    table = rates()
    return ModelPair(table.model(draft), table.model(target), table.gpu(gpu))


@cache
def rates() -> Table:
    """Return the content of `rates.toml`."""
    text = files("dreamr.evaluation.simulator").joinpath("rates.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    known = {item.name: values["assumptions"][item.name] for item in fields(Assumptions)}
    return Table(
        Assumptions(**known),
        {name: Gpu(**row) for name, row in values["gpus"].items()},
        {name: ModelSpec(**row) for name, row in values["models"].items()},
        tuple(values["checks"]),
    )
