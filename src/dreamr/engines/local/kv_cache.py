"""KV caches, one per token sequence, that transformers' modules write to.

    rows      0 ........ length ........ capacity
              | valid     | unused        |
    a pass    writes rows length .. length + q; `advance` makes them valid, `rewind` drops rows

A `KVCache` holds all layers in one tensor. A new token needs no concatenation and no copy,
rewinding changes a number, and rows of another sequence are copied in one operation. It requires
full attention with the same shape in every layer. Models with other layers (sliding windows,
recurrent states) use a `SnapshotStore`, which can only rewind to marked lengths.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol, cast

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

_FIRST = 256  # rows of a new store, which grows by doubling


class Store(Protocol):
    """Keys and values of one token sequence.

    Attributes:
        length: Number of valid rows.
    """

    length: int

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        ...

    def usable(self, length: int) -> int:
        """Return how many rows, at most `length`, `rewind` can keep."""
        ...

    def rewind(self, length: int) -> None:
        """Keep the first `length` rows, a number returned by `usable`."""
        ...

    def adopt(self, other: Any, length: int) -> None:
        """Copy rows up to `length` from a store with the same tokens up to there."""
        ...

    def reserve(self, rows: int) -> None:
        """Make room for a total number of rows."""
        ...

    def advance(self, rows: int) -> None:
        """Make the next rows valid, which a forward pass has written."""
        ...

    def mark(self) -> None:
        """Make it possible to rewind to the current length."""
        ...


class Shape:
    """Shape, dtype and device of a KV cache with uniform layers.

    Args:
        layers: Number of layers.
        sample: Keys of one layer, (1, kv heads, rows, size).
    """

    def __init__(self, layers: int, sample: torch.Tensor) -> None:
        self.layers = layers
        self.heads, self.size = sample.shape[1], sample.shape[3]
        self.dtype, self.device = sample.dtype, sample.device

    def allocate(self, rows: int) -> torch.Tensor:
        """Return uninitialized memory, (2 * layers, 1, heads, rows, size), keys before values."""
        return torch.empty(
            (2 * self.layers, 1, self.heads, rows, self.size), dtype=self.dtype, device=self.device
        )


def uniform_shape(cache: DynamicCache) -> Shape | None:
    """Return the shape of a filled cache; None if a `KVCache` cannot replace it."""
    layers: list[Any] = list(cache.layers)
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        return None
    shapes = {layer.keys.shape for layer in layers} | {layer.values.shape for layer in layers}
    return Shape(len(layers), layers[0].keys) if len(shapes) == 1 else None


class KVCache:
    """Keys and values of all layers in one tensor that grows by doubling.

    Attributes:
        rows: The tensor, (2 * layers, 1, heads, capacity, size), keys before values.
        array: The same memory in NumPy, (2 * layers, heads, capacity, size); None unless it is
            float32 on a CPU.
        keys: Keys of each layer, views of `rows`.
        values: Values of each layer, views of `rows`.
        length: Number of valid rows.
        copied: Number of leading rows of which a `StaticStep` has a current copy.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.length = self.copied = 0
        self._take(shape.allocate(_FIRST))

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.rows.nbytes

    @property
    def capacity(self) -> int:
        """Number of rows that fit without growing."""
        return int(self.rows.shape[3])

    def usable(self, length: int) -> int:
        """Return how many rows, at most `length`, can be kept."""
        return min(length, self.length)

    def rewind(self, length: int) -> None:
        """Keep the first `length` rows."""
        self.length = length

    def adopt(self, other: KVCache, length: int) -> None:
        """Copy rows up to `length` from a store with the same tokens up to there."""
        self.reserve(length)
        self.copied = min(self.copied, self.length)
        fresh = slice(self.length, length)
        self.rows[:, :, :, fresh] = other.rows[:, :, :, fresh]
        self.length = length

    def reserve(self, rows: int) -> None:
        """Make room for a total number of rows."""
        if rows <= self.capacity:
            return
        capacity = self.capacity
        while capacity < rows:
            capacity *= 2
        grown = self.shape.allocate(capacity)
        grown[:, :, :, : self.length] = self.rows[:, :, :, : self.length]
        self._take(grown)

    def advance(self, rows: int) -> None:
        """Make the next rows valid, which a forward pass has written."""
        self.length += rows

    def mark(self) -> None:
        """Do nothing: it can rewind to any length."""

    def write(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a layer's new rows after the valid ones and return all rows."""
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
    """transformers' own cache, with copies of it at the last marked lengths."""

    _KEPT = 3

    def __init__(self, config: Any) -> None:
        self._config = config
        self._marks: dict[int, DynamicCache] = {}
        self._reset()

    @property
    def cache(self) -> DynamicCache:
        """Cache that transformers' modules write to."""
        return self._cache

    def _reset(self) -> None:
        self._cache = DynamicCache(config=self._config)
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Memory of the cache and its copies in bytes."""
        return sum(map(_cache_bytes, (self.cache, *self._marks.values())))

    def usable(self, length: int) -> int:
        """Return how many rows can be kept: all, or up to the last mark within `length`."""
        if length >= self.length:
            return self.length
        return max((mark for mark in self._marks if mark <= length), default=0)

    def rewind(self, length: int) -> None:
        """Keep the first `length` rows, a number returned by `usable`."""
        if length == self.length:
            return
        self._marks = {mark: kept for mark, kept in self._marks.items() if mark <= length}
        if length == 0:
            self._reset()
            return
        self._cache, self.length = copy.deepcopy(self._marks[length]), length

    def adopt(self, other: SnapshotStore, length: int) -> None:
        """Copy a cache of `length` rows from a store with the same tokens up to there."""
        source = other.cache if other.length == length else other._marks[length]
        self._cache, self.length = copy.deepcopy(source), length
        self._marks = {}
        self.mark()

    def reserve(self, rows: int) -> None:
        """Do nothing: the cache grows by itself."""

    def advance(self, rows: int) -> None:
        """Count the next rows, which a forward pass has written."""
        self.length += rows

    def mark(self) -> None:
        """Copy the cache, so that it can rewind to the current length."""
        if self.length in self._marks:
            return
        self._marks[self.length] = copy.deepcopy(self.cache)
        # Keep the shortest, which is the prompt: all later calls share it.
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
