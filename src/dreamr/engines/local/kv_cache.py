"""Stores of keys and values, one for each token sequence, that transformers' modules write to.

    rows      0 ........ length ........ capacity
              | valid     | free, garbage |
    a pass    writes rows length .. length + q; `advance` makes them valid, `rewind` gives back

A `KVCache` keeps all layers in one tensor: no concatenation and so no copy per token, rewinding is
a number, and another sequence's rows are adopted in one copy. It needs full attention with the same
shape in every layer. Everything else (sliding windows, recurrent states) goes to a
`SnapshotStore`, which can only go back to where it was marked.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol, cast

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

_FIRST = 256  # rows of a new store; doubled when full


class Store(Protocol):
    """Keys and values of one sequence of tokens."""

    length: int

    @property
    def nbytes(self) -> int: ...

    def usable(self, length: int) -> int:
        """The most rows, at most `length`, that can be kept."""
        ...

    def rewind(self, length: int) -> None:
        """Keep so many rows; `usable` said that it can."""
        ...

    def adopt(self, other: Any, length: int) -> None:
        """Take rows up to `length` over from a store whose tokens are the same up to there."""
        ...

    def reserve(self, rows: int) -> None:
        """Make room for so many rows in all."""
        ...

    def advance(self, rows: int) -> None:
        """A pass has written so many rows that stay."""
        ...

    def mark(self) -> None:
        """Later calls will want to come back to this length."""
        ...


class Shape:
    """Layers, key-value heads, head size, dtype and device of a model with uniform layers."""

    def __init__(self, layers: int, sample: torch.Tensor) -> None:
        self.layers = layers
        self.heads, self.size = sample.shape[1], sample.shape[3]
        self.dtype, self.device = sample.dtype, sample.device

    def allocate(self, rows: int) -> torch.Tensor:
        """Uninitialized room: (2 * layers, 1, heads, rows, size), keys before values."""
        return torch.empty(
            (2 * self.layers, 1, self.heads, rows, self.size), dtype=self.dtype, device=self.device
        )


def uniform_shape(cache: DynamicCache) -> Shape | None:
    """The shape of a filled cache if a KVCache can take its place."""
    layers: list[Any] = list(cache.layers)
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        return None
    shapes = {layer.keys.shape for layer in layers} | {layer.values.shape for layer in layers}
    return Shape(len(layers), layers[0].keys) if len(shapes) == 1 else None


class KVCache:
    """All layers' keys and values in one tensor that grows by doubling.

    array: the same in NumPy, (2 * layers, heads, rows, size), where it is float32 on a CPU. copied:
    the first rows that a copy of this store (`StaticStep`) has as they are here.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.length = self.copied = 0
        self._take(shape.allocate(_FIRST))

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes

    @property
    def capacity(self) -> int:
        """Rows that fit without growing."""
        return int(self.rows.shape[3])

    def usable(self, length: int) -> int:
        return min(length, self.length)

    def rewind(self, length: int) -> None:
        self.length = length

    def adopt(self, other: KVCache, length: int) -> None:
        self.reserve(length)
        self.copied = min(self.copied, self.length)
        fresh = slice(self.length, length)
        self.rows[:, :, :, fresh] = other.rows[:, :, :, fresh]
        self.length = length

    def reserve(self, rows: int) -> None:
        if rows <= self.capacity:
            return
        capacity = self.capacity
        while capacity < rows:
            capacity *= 2
        grown = self.shape.allocate(capacity)
        grown[:, :, :, : self.length] = self.rows[:, :, :, : self.length]
        self._take(grown)

    def advance(self, rows: int) -> None:
        self.length += rows

    def mark(self) -> None:
        """Any row can be come back to."""

    def write(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put a layer's new rows behind the valid ones; returns all of them."""
        start, end = self.length, self.length + keys.shape[2]
        self.copied = min(self.copied, start)
        all_keys = self.keys[layer].narrow(2, 0, end)
        all_values = self.values[layer].narrow(2, 0, end)
        all_keys.narrow(2, start, end - start).copy_(keys)
        all_values.narrow(2, start, end - start).copy_(values)
        return all_keys, all_values

    def _take(self, rows: torch.Tensor) -> None:
        self.rows = rows
        plain = rows.device.type == "cpu" and rows.dtype == torch.float32
        self.array: Any = rows[:, 0].numpy() if plain else None
        pairs = rows.unbind(0)
        self.keys = pairs[: self.shape.layers]
        self.values = pairs[self.shape.layers :]


class SnapshotStore:
    """transformers' own cache, and copies of it at the last marked lengths."""

    _KEPT = 3

    def __init__(self, config: Any) -> None:
        self._config = config
        self._marks: dict[int, DynamicCache] = {}
        self._reset()

    @property
    def cache(self) -> DynamicCache:
        """What transformers' modules write to."""
        return self._cache

    def _reset(self) -> None:
        self._cache = DynamicCache(config=self._config)
        self.length = 0

    @property
    def nbytes(self) -> int:
        return sum(map(_cache_bytes, (self.cache, *self._marks.values())))

    def usable(self, length: int) -> int:
        if length >= self.length:
            return self.length
        return max((mark for mark in self._marks if mark <= length), default=0)

    def rewind(self, length: int) -> None:
        if length == self.length:
            return
        self._marks = {mark: kept for mark, kept in self._marks.items() if mark <= length}
        if length == 0:
            self._reset()
            return
        self._cache, self.length = copy.deepcopy(self._marks[length]), length

    def adopt(self, other: SnapshotStore, length: int) -> None:
        source = other.cache if other.length == length else other._marks[length]
        self._cache, self.length = copy.deepcopy(source), length
        self._marks = {}
        self.mark()

    def reserve(self, rows: int) -> None:
        """The cache grows by itself."""

    def advance(self, rows: int) -> None:
        self.length += rows

    def mark(self) -> None:
        if self.length in self._marks:
            return
        self._marks[self.length] = copy.deepcopy(self.cache)
        # The shortest stays: it is the prompt, which every later call shares.
        while len(self._marks) > self._KEPT:
            del self._marks[sorted(self._marks)[1]]


def _cache_bytes(cache: DynamicCache) -> int:
    total = 0
    for layer in cache.layers:
        for value in vars(layer).values():
            total += sum(tensor.nbytes for tensor in _tensors(value))
    return total


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for item in cast("list[Any]", value) for tensor in _tensors(item)]
    return []
