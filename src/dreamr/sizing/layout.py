"""Where the models of a pair go, and how the devices' memory is divided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from dreamr.errors import DreamrError
from dreamr.pairs import LLAMA_SLOTS, EngineName
from dreamr.sizing.architecture import Architecture
from dreamr.sizing.devices import GB, Device, described, equal_groups
from dreamr.sizing.memory import USABLE, Demand, demand

CONTEXT, LEAST_CONTEXT = 32768, 4096  # tokens
PIXELS, LEAST_PIXELS = 2**20, 2**18  # of an image
_PERCENT = 100
_SHARDS = (1, 2, 4, 8, 16, 32)
# A long context counts more than many slots, but a model writes and judges at the same time.
_SLOTS = (LLAMA_SLOTS, 2)


class TooLarge(DreamrError):
    """The models do not fit into the memory of the devices."""


@dataclass(frozen=True, slots=True)
class Part:
    """The place of one model.

    Attributes:
        devices: Indices of its devices; more than one are used tensor-parallel.
        memory: Share of each device's memory, in (0, 1].
        demand: What the model needs on each of them.
        full: Conversations of the full context that fit.
        usual: Usual conversations that fit.
    """

    devices: tuple[int, ...]
    memory: float
    demand: Demand
    full: int
    usual: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of a pair.

    Attributes:
        target: Place of the target.
        draft: Place of the draft.
        context: Longest context in tokens.
        pixels: Most pixels of an image.
    """

    target: Part
    draft: Part
    context: int
    pixels: int

    @property
    def colocated(self) -> bool:
        """Whether the models share a device."""
        return bool(set(self.target.devices) & set(self.draft.devices))

    @property
    def devices(self) -> int:
        """Number of devices of both models."""
        return len({*self.target.devices, *self.draft.devices})

    @property
    def full(self) -> int:
        """Conversations of the full context that fit into both models."""
        return min(self.target.full, self.draft.full)

    @property
    def usual(self) -> int:
        """Usual conversations that fit into both models."""
        return min(self.target.usual, self.draft.usual)


@dataclass(frozen=True, slots=True)
class Pair:
    """A target and a draft to be placed.

    Attributes:
        target: The target.
        draft: The draft.
        engine: Engine of both models. None: by their names.
    """

    target: Architecture
    draft: Architecture
    engine: EngineName | None = None

    @property
    def context(self) -> int:
        """Longest context that both models take."""
        return min(self.target.context, self.draft.context)

    def engine_of(self, model: Architecture) -> EngineName:
        """Return the engine of one of the models."""
        return self.engine or _engine_of(model.name)

    def has_slots(self, model: Architecture) -> bool:
        """Return whether the engine of one of the models divides its context among slots."""
        return self.engine_of(model) == "llama.cpp"


_Place: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


def layouts(
    pair: Pair, devices: Sequence[Device], context: int | None = None, pixels: int | None = None
) -> list[Layout]:
    """Return all layouts that have enough memory, at the longest context that fits.

    A target is on the CPU only if the GPUs are too small: it is slow there, and the memory of a CPU
    would choose a context that is too long for the GPUs.

    Args:
        pair: The models.
        devices: The devices.
        context: Longest context in tokens. None: the longest that fits, up to `CONTEXT`.
        pixels: Most pixels of an image. None: by the context.

    Raises:
        TooLarge: If no layout has enough memory, or a model does not have this context.
    """
    if context is not None and context > pair.context:
        raise TooLarge(
            f"a context of {context:,} tokens is longer than that of the models ({pair.context:,})"
            ": choose a smaller --context"
        )
    tried = _tried(pair, context)
    groups = equal_groups(devices)
    gpus = [group for group in groups if not devices[group[0]].is_cpu]
    cpus = [group for group in groups if devices[group[0]].is_cpu]
    for targets, (length, slots) in product((gpus, cpus), tried):
        most = pixels or pixel_budget(pair, length)
        found = [
            layout
            for place in _places(pair, targets, groups)
            if (layout := _layout(pair, devices, place, length, most, slots)) is not None
        ]
        if found:
            return _smallest_drafts(found)
    raise TooLarge(_reason(pair, devices, tried[-1], pixels))


def layouts_apart(
    pair: Pair,
    devices: Sequence[Device],
    border: int,
    context: int | None = None,
    pixels: int | None = None,
) -> list[Layout]:
    """Return the layouts with the target on one machine and the draft on another; maybe none.

    Args:
        pair: The models.
        devices: Devices of both machines.
        border: Index of the first device of the draft's machine.
        context: Longest context in tokens. None: the longest that fits, up to `CONTEXT`.
        pixels: Most pixels of an image. None: by the context.
    """
    others = [tuple(index + border for index in group) for group in equal_groups(devices[border:])]
    places = [
        (first[:shards], second[:size])
        for first in equal_groups(devices[:border])
        for shards in _shards(pair.target, len(first))
        for second in others
        for size in _shards(pair.draft, len(second))
    ]
    for length, slots in _tried(pair, context):
        most = pixels or pixel_budget(pair, length)
        tried = (_layout(pair, devices, place, length, most, slots) for place in places)
        if found := [layout for layout in tried if layout is not None]:
            return _smallest_drafts(found)
    return []


def layouts_alone(
    model: Architecture,
    devices: Sequence[Device],
    context: int | None = None,
    pixels: int | None = None,
) -> list[Layout]:
    """Return the layouts of one model with all memory of its devices; maybe none.

    Args:
        model: The model.
        devices: The devices.
        context: Longest context in tokens. None: the longest that fits, up to `CONTEXT`.
        pixels: Most pixels of an image. None: by the context.

    Returns:
        Layouts in which the model is target and draft, at the same place.
    """
    single = Pair(model, model)
    for length, slots in _tried(single, context):
        most = pixels or pixel_budget(single, length)
        found = []
        for group in equal_groups(devices):
            device = devices[group[0]]
            for shards in _shards(model, len(group)):
                needed = _demand(single, model, device, length, most, slots, shards)
                part = fill(group[:shards], USABLE, needed, device.memory)
                found += [Layout(part, part, length, most)] if part is not None else []
        if found:
            return found
    return []


def _smallest_drafts(found: list[Layout]) -> list[Layout]:
    """Return the layouts whose draft has no more devices than it needs beside such a target.

    A small model gains little from tensor parallelism.
    """
    least: dict[tuple[tuple[int, ...], int], Layout] = {}
    for one in found:
        own = -1 if one.colocated else one.draft.devices[0]
        kept = least.setdefault((one.target.devices, own), one)
        if len(one.draft.devices) < len(kept.draft.devices):
            least[one.target.devices, own] = one
    return list(least.values())


def pixel_budget(pair: Pair, context: int) -> int:
    """Return the most pixels of an image, so that it takes at most an eighth of the context."""
    each = [m.pixels_per_token for m in (pair.target, pair.draft) if m.pixels_per_token]
    if not each:
        return PIXELS
    return max(LEAST_PIXELS, min(PIXELS, context // 8 * min(each)))


def _engine_of(name: str) -> EngineName:
    """Return the engine that serves a model of this name: llama.cpp for weights in GGUF files."""
    return "llama.cpp" if "gguf" in name.lower() else "vllm"


def _tried(pair: Pair, context: int | None) -> list[tuple[int, int]]:
    """Return the contexts to try, each with the slots of models that have them."""
    contexts = [context] if context else _contexts(min(CONTEXT, pair.context))
    uses_slots = any(map(pair.has_slots, (pair.target, pair.draft)))
    return list(product(contexts, _SLOTS if uses_slots else _SLOTS[:1]))


def _contexts(longest: int) -> list[int]:
    found = [longest]
    while found[-1] // 2 >= LEAST_CONTEXT:
        found.append(found[-1] // 2)
    return found


def _places(
    pair: Pair, targets: Sequence[tuple[int, ...]], groups: Sequence[tuple[int, ...]]
) -> Iterator[_Place]:
    """Yield the devices of target and draft that are worth a try.

    Args:
        pair: The models.
        targets: Groups of equal devices for the target.
        groups: Groups of equal devices for the draft.
    """
    for group in targets:
        for shards in _shards(pair.target, len(group)):
            target = group[:shards]
            yield from ((target, target[:size]) for size in _shards(pair.draft, shards))
            for other in groups:
                free = [index for index in other if index not in target]
                sizes = _shards(pair.draft, len(free))
                yield from ((target, tuple(free[:size])) for size in sizes)


def _shards(model: Architecture, most: int) -> list[int]:
    return [count for count in _SHARDS if count <= most and model.divides(count)]


def _layout(
    pair: Pair, devices: Sequence[Device], place: _Place, context: int, pixels: int, slots: int
) -> Layout | None:
    target, draft = place
    wanted = [
        _demand(pair, model, devices[where[0]], context, pixels, slots, len(where))
        for model, where in ((pair.target, target), (pair.draft, draft))
    ]
    shares = [USABLE, USABLE]
    if set(target) & set(draft):
        memory = min(devices[index].memory for index in target)
        divided = divide(wanted[0], wanted[1], memory)
        if divided is None:
            return None
        shares = list(divided)
    parts = []
    for where, share, needed in zip((target, draft), shares, wanted, strict=True):
        part = fill(where, share, needed, min(devices[index].memory for index in where))
        if part is None:
            return None
        parts.append(part)
    return Layout(parts[0], parts[1], context, pixels)


def _demand(
    pair: Pair,
    model: Architecture,
    device: Device,
    context: int,
    pixels: int,
    slots: int,
    shards: int = 1,
) -> Demand:
    return demand(
        model,
        device.memory,
        context,
        pixels,
        shards,
        cpu=device.is_cpu,
        slots=slots if pair.has_slots(model) else None,
    )


def fill(devices: tuple[int, ...], share: float, needed: Demand, memory: int) -> Part | None:
    """Return the place of a model with this share of the memory, or None if it does not fit."""
    available = share * memory
    if needed.least > available:
        return None
    return Part(
        devices,
        share,
        needed,
        needed.conversations(available, needed.full),
        needed.conversations(available, needed.usual),
    )


def divide(target: Demand, draft: Demand, memory: int) -> tuple[float, float] | None:
    """Divide a device's memory so that the models keep as many conversations as possible.

    All shares in whole percents are tried, so more memory never keeps fewer conversations.

    Returns:
        The shares of target and draft, together `USABLE`; None if the models do not fit.
    """
    best: tuple[tuple[int, int], float, float] | None = None
    for percent in range(1, round(USABLE * _PERCENT)):
        smaller, larger = percent / _PERCENT, round(USABLE - percent / _PERCENT, 2)
        if draft.least > smaller * memory or target.least > larger * memory:
            continue
        full, usual = zip(target.kept(larger * memory), draft.kept(smaller * memory), strict=True)
        kept = min(full), min(usual)
        if best is None or kept > best[0]:
            best = kept, larger, smaller
    return None if best is None else best[1:]


def _reason(
    pair: Pair, devices: Sequence[Device], least: tuple[int, int], pixels: int | None
) -> str:
    context, slots = least
    names = f"{_short(pair.target)} and {_short(pair.draft)}"
    needed = 0
    for model in (pair.target, pair.draft):
        needed += _demand(pair, model, devices[0], context, pixels or PIXELS, slots).least
    usable = sum(device.memory for device in devices) * USABLE
    return (
        f"{names} need about {needed / GB:.0f} GB with a context of {context:,} tokens, more than "
        f"the {usable / GB:.0f} GB that {described(devices)} can give them: use more GPUs, or "
        "weights of 8 or 4 bits (models with FP8 or AWQ in their names)"
    )


def _short(model: Architecture) -> str:
    return model.name.rstrip("/").rsplit("/", 1)[-1]
