"""One row through a decoder's layers in NumPy, on the memory of torch's weights and caches.

A decoded token takes about twenty small operations per layer. A call into torch costs several
microseconds, a NumPy call that writes to a given array costs one. For models of a few million
weights, that difference is half of the time. For larger models, NumPy multiplies a row with a
matrix as fast as torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def rotation_factors(layers: Sequence[Any]) -> tuple[Array, Array]:
    """Return the factors of cosines and crossed sines, (layers, heads + kv heads, 2, half).

    With halves x1 and x2, a rotation is x * cos + (x2, x1) * (-sin, sin). Scaling x by w before the
    rotation equals scaling cos by w and the crossed sines by w with its halves swapped. This is why
    the factors include the weights of the query and key norms. They also include the scaling of the
    attention scores (in the queries) and the square root of the head size, so that the norms of
    heads can use sums of squares instead of means.
    """
    first = layers[0]
    weights = np.stack([as_numpy(layer.head_scale) for layer in layers])
    weights = weights * (1.0 if first.head_eps is None else first.size**0.5)
    weights[:, : first.heads] *= first.scaling
    halves = weights.astype(np.float32).reshape(*weights.shape[:2], 2, -1)
    sign = np.array([[-1.0], [1.0]], np.float32)
    return halves, halves[:, :, ::-1] * sign


def attend(query: Array, keys: Array, values: Array, seen: Array) -> None:
    """Compute the attention of one row.

    Args:
        query: Scaled query, (kv heads, group, size).
        keys: (kv heads, size, rows).
        values: (kv heads, rows, size).
        seen: Output, in the shape of `query`.
    """
    scores = np.matmul(query, keys)
    scores -= np.maximum.reduce(scores, -1, keepdims=True)
    np.exp(scores, scores)
    np.matmul(scores, values, seen)
    seen /= np.add.reduce(scores, -1, keepdims=True)


def as_numpy(tensor: Any) -> Array:
    """Return a tensor's memory as an array."""
    array: Array = tensor.detach().numpy()
    return array


class DecodeStep:
    """All layers and the final norm, for one row after all rows of a store.

    Args:
        layers: Layers of a `NumpyDecoder`, whose matrices are read in place.
        norm: Final norm of a `NumpyDecoder`.
        factors: Result of `rotation_factors`.
    """

    def __init__(self, layers: Sequence[Any], norm: Any, factors: tuple[Array, Array]) -> None:
        self._layers = [_RowLayer(layer) for layer in layers]
        self._norm = _RowNorm(norm)
        self._straight, self._crossed = factors

    def __call__(self, x: Array, cos: Array, sin: Array, rows: Array, length: int) -> Array:
        """Return the hidden row, (width,); write its keys and values to the store.

        Args:
            x: Embedding, (width,); not modified.
            cos: Cosines of the position, (size,).
            sin: Sines of the position, (size,).
            rows: Keys and values of the store, (2 * layers, kv heads, capacity, size).
            length: Number of valid rows in the store.
        """
        wide = self._straight * cos.reshape(2, -1)
        cross = self._crossed * sin.reshape(2, -1)
        count = len(self._layers)
        seen, fresh = rows[:, :, : length + 1], rows[:, :, length]
        for layer, *given in zip(
            self._layers, wide, cross, fresh[:count], fresh[count:],
            seen[:count].swapaxes(2, 3), seen[count:], strict=True,
        ):  # fmt: skip
            x = layer(x, *given)
        return self._norm(x)


class _RowNorm:
    """Root-mean-square norm of one row. Returns the same array on each call."""

    def __init__(self, norm: Any) -> None:
        self._weight = as_numpy(norm.weight)
        self._eps = norm.eps
        self._size = norm.size
        self._room = np.empty(norm.size, np.float32)

    def __call__(self, x: Array) -> Array:
        np.multiply(x, self._weight, self._room)
        self._room *= 1.0 / math.sqrt(x.dot(x) / self._size + self._eps)
        return self._room


class _RowLayer:
    """One decoder layer, with arrays that are allocated once."""

    def __init__(self, layer: Any) -> None:
        self._before, self._after = _RowNorm(layer.before), _RowNorm(layer.after)
        self._qkv, self._out = as_numpy(layer.qkv), as_numpy(layer.out)
        self._gates, self._down = as_numpy(layer.gates), as_numpy(layer.down)
        self._bias = None if layer.bias is None else as_numpy(layer.bias)
        self._eps = None if layer.head_eps is None else layer.head_eps * layer.size
        width, inner, turned = self._out.shape[1], self._down.shape[0], layer.heads + layer.kv_heads
        grouped = (layer.kv_heads, -1, layer.size)
        split = turned * layer.size
        joint = np.empty(self._qkv.shape[1], np.float32)
        self._joint = joint
        self._heads = joint[:split].reshape(turned, layer.size)
        self._halves = self._heads.reshape(turned, 2, -1)
        self._swapped = self._halves[:, ::-1]
        self._value = joint[split:].reshape(layer.kv_heads, layer.size)
        self._squares = np.empty(turned, np.float32)
        self._turned, self._other = np.empty_like(self._halves), np.empty_like(self._halves)
        self._query = self._turned[: layer.heads].reshape(grouped)
        self._key = self._turned[layer.heads :].reshape(layer.kv_heads, layer.size)
        self._seen = np.empty_like(self._query)
        self._both = np.empty(2 * inner, np.float32)
        self._gate, self._up = self._both[:inner], self._both[inner:]
        self._inner = np.empty(inner, np.float32)
        self._added = np.empty(width, np.float32)

    def __call__(
        self, x: Array, wide: Array, cross: Array, key: Array, value: Array, keys: Array,
        values: Array,
    ) -> Array:  # fmt: skip
        """Return x after this layer.

        Args:
            x: (width,).
            wide: Scaled cosines, (heads + kv heads, 2, half).
            cross: Scaled crossed sines, (heads + kv heads, 2, half).
            key: Place of the row's keys in the store, (kv heads, size).
            value: Place of the row's values in the store, (kv heads, size).
            keys: All keys, including the row's, (kv heads, size, rows).
            values: All values, including the row's, (kv heads, rows, size).
        """
        np.dot(self._before(x), self._qkv, self._joint)
        if self._bias is not None:
            self._joint += self._bias
        if self._eps is not None:
            self._norm_heads(self._eps)
        np.multiply(self._halves, wide, self._turned)
        np.multiply(self._swapped, cross, self._other)
        self._turned += self._other
        key[:], value[:] = self._key, self._value
        attend(self._query, keys, values, self._seen)
        x = x + np.dot(self._seen.reshape(-1), self._out, self._added)
        np.dot(self._after(x), self._gates, self._both)
        x += np.dot(self._gated(), self._down, self._added)
        return x

    def _norm_heads(self, eps: float) -> None:
        squares = np.vecdot(self._heads, self._heads, self._squares)
        squares += eps
        np.sqrt(squares, squares)
        self._heads /= squares[:, None]

    def _gated(self) -> Array:
        """Return silu(gate) * up, computed with tanh, which cannot overflow as exp can."""
        inner = self._inner
        self._gate *= 0.5
        np.tanh(self._gate, inner)
        inner += 1.0
        inner *= self._gate
        inner *= self._up
        return inner
