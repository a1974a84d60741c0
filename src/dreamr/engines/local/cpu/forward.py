"""Several rows through a decoder's layers in NumPy, of one sequence or of several.

Operations on single rows run for all rows together, so that a pass reads the weights once. Only
attention runs sequence by sequence, each over its own store. Buffers are reused between passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dreamr.engines.local.cpu.decode_step import Array, as_numpy, attend
from dreamr.engines.local.cpu.matmul import (
    MOST_BYTES,
    Bfloat16Products,
    Float32Products,
    Products,
    bfloat16_pays,
    has_bfloat16,
)
from dreamr.engines.local.forward_pass import Interrupted
from dreamr.engines.protocol import DType

BFLOAT16_ROWS = 8  # rows of a block from which its pass multiplies in bfloat16


@dataclass(frozen=True, slots=True)
class Block:
    """The rows start .. stop - 1 of a pass: the next tokens of one sequence.

    Attributes:
        pairs: Keys and values of the sequence, (2, layers, kv heads, capacity, size).
        length: Number of valid rows in `pairs`.
        start: First row.
        stop: Row after the last.
        mask: Added to the attention scores, (1, 1, group * rows, length + rows), where group is the
            number of query heads per key head. None means causal on an empty store, or one row.
        first: First row that the last layer has to compute.
    """

    pairs: Array
    length: int
    start: int
    stop: int
    mask: torch.Tensor | None
    first: int


class ForwardPass:
    """All layers and the final norm, for the rows of several blocks.

    Args:
        layers: Layers of a `NumpyDecoder`, whose matrices are read in place.
        norm: Final norm of a `NumpyDecoder`.
        factors: Result of `rotation_factors`.
        dtype: Type in which passes of many rows multiply; "auto" for the faster one.

    Attributes:
        bfloat16: Whether passes of many rows multiply in bfloat16. Others never do.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        norm: Any,
        factors: tuple[Array, Array],
        dtype: DType = "float32",
    ) -> None:
        self._buffers = _Buffers()
        total = sum(matrix.nbytes for layer in layers for matrix in _matrices(layer))
        self.bfloat16 = total <= MOST_BYTES and (
            has_bfloat16()
            if dtype == "bfloat16"
            else dtype == "auto" and bfloat16_pays(tuple(one.shape for one in _matrices(layers[0])))
        )
        self._few = self._with(layers, Float32Products(total, self._buffers))
        self._many = self._with(layers, Bfloat16Products()) if self.bfloat16 else self._few
        self._norm = _RowsNorm(norm, self._buffers)
        self._straight, self._crossed = factors

    def __call__(
        self,
        x: Array,
        cos: Array,
        sin: Array,
        blocks: Sequence[Block],
        interrupted: Callable[[], bool],
    ) -> Array:
        """Return the requested hidden rows; write keys and values of all rows to the stores.

        Args:
            x: Embeddings, (rows, width).
            cos: Cosines of their positions, (rows, size).
            sin: Sines of their positions, (rows, size).
            blocks: Blocks of the pass.
            interrupted: Called before each layer. The pass is aborted if it returns True.

        Returns:
            (requested rows, width).

        Raises:
            Interrupted: If the pass is aborted.
        """
        wide = self._scaled("wide", self._straight, cos)
        cross = self._scaled("cross", self._crossed, sin)
        many = any(block.stop - block.start >= BFLOAT16_ROWS for block in blocks)
        layers = self._many if many else self._few
        top = len(layers) - 1
        x = x.copy()
        for number, layer in enumerate(layers):
            if interrupted():
                raise Interrupted
            x = layer(x, wide[number], cross[number], blocks, number, last=number == top)
        return self._norm(x).copy()

    def use_float32(self) -> None:
        """Multiply in float32 in all passes."""
        self.bfloat16, self._many = False, self._few

    def _with(self, layers: Sequence[Any], products: Products) -> list[_RowsLayer]:
        return [_RowsLayer(layer, self._buffers, products) for layer in layers]

    def _scaled(self, name: str, factors: Array, angles: Array) -> Array:
        """Multiply factors of all layers with cosines or sines: (layers, rows, heads, 2, half)."""
        spread = angles.reshape(len(angles), 1, 2, -1)
        buffer = self._buffers(name, len(factors), len(angles), *factors.shape[1:])
        return np.multiply(factors[:, None], spread, buffer)


def _matrices(layer: Any) -> tuple[Array, ...]:
    return layer.qkv, layer.out, layer.gates, layer.down


class _Buffers:
    """Arrays by name. New memory costs a page fault per 4 KiB, in every layer."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def __call__(self, name: str, *shape: int) -> Array:
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or len(kept) < size:
            kept = self._kept[name] = np.empty(size, np.float32)
        return kept[:size].reshape(shape)


class _RowsNorm:
    """Root-mean-square norm of rows. Returns the same memory on each call."""

    def __init__(self, norm: Any, buffers: _Buffers) -> None:
        self._weight = as_numpy(norm.weight)
        self._eps, self._size = norm.eps, norm.size
        self._buffers = buffers

    def __call__(self, x: Array) -> Array:
        scale = np.vecdot(x, x)
        scale /= self._size
        scale += self._eps
        np.sqrt(scale, scale)
        normed = np.multiply(x, self._weight, self._buffers("normed", *x.shape))
        normed /= scale[:, None]
        return normed


class _RowsLayer:
    """One decoder layer. In all methods, x is (rows, width)."""

    def __init__(self, layer: Any, buffers: _Buffers, products: Products) -> None:
        self._before, self._after = (
            _RowsNorm(layer.before, buffers),
            _RowsNorm(layer.after, buffers),
        )
        # Transposed views, (out, in), of the same memory.
        matrices = (layer.qkv, layer.out, layer.gates, layer.down)
        self._qkv, self._out, self._gates, self._down = (
            products.of(as_numpy(matrix).T) for matrix in matrices
        )
        self._bias = None if layer.bias is None else as_numpy(layer.bias)
        self._eps = None if layer.head_eps is None else layer.head_eps * layer.size
        self._buffers = buffers
        self._size, self._kv_heads = layer.size, layer.kv_heads
        self._asked = layer.heads * layer.size
        self._split = (layer.heads + layer.kv_heads) * layer.size

    def __call__(
        self, x: Array, wide: Array, cross: Array, blocks: Sequence[Block], number: int, last: bool
    ) -> Array:  # fmt: skip
        """Return x after this layer; write keys and values to the stores.

        Args:
            x: Rows before this layer; modified.
            wide: Scaled cosines, (rows, heads + kv heads, 2, half).
            cross: Scaled crossed sines, (rows, heads + kv heads, 2, half).
            blocks: Blocks of the pass.
            number: Index of the layer in the stores.
            last: Whether to drop the rows that are not requested.
        """
        joint = self._qkv(self._before(x), "joint")
        lines = self._buffers("lines", *joint.shape)
        lines[:] = joint
        if self._bias is not None:
            lines += self._bias
        self._turn(lines[:, : self._split].reshape(wide.shape), wide, cross)
        seen = self._attend(lines, blocks, number, last=last)
        if last and any(block.first > block.start for block in blocks):
            wanted = np.concatenate([np.arange(block.first, block.stop) for block in blocks])
            x, seen = x[wanted], seen[wanted]
        x += self._out(seen, "added")
        x += self._down(self._gated(self._after(x)), "added")
        return x

    def _turn(self, halves: Array, wide: Array, cross: Array) -> None:
        """Normalize and rotate queries and keys in place, (rows, heads + kv heads, 2, half)."""
        if self._eps is not None:
            heads = halves.reshape(*halves.shape[:2], -1)
            squares = np.vecdot(heads, heads)
            squares += self._eps
            halves /= np.sqrt(squares, squares)[..., None, None]
        one = np.multiply(halves, wide, self._buffers("one", *wide.shape))
        other = np.multiply(halves[:, :, ::-1], cross, self._buffers("other", *wide.shape))
        np.add(one, other, halves)

    def _attend(self, lines: Array, blocks: Sequence[Block], number: int, *, last: bool) -> Array:
        """Write keys and values to the stores; return the attention, (rows, heads * size)."""
        rows = len(lines)
        fresh = lines[:, self._asked :].reshape(rows, 2, self._kv_heads, self._size)
        fresh = fresh.transpose(1, 2, 0, 3)
        queries = lines[:, : self._asked].reshape(rows, self._kv_heads, -1, self._size)
        seen = self._buffers("seen", rows, self._asked)
        split = seen.reshape(queries.shape)
        for block in blocks:
            start, stop, length = block.start, block.stop, block.length
            known = block.pairs[:, number, :, : length + stop - start]
            known[:, :, length:] = fresh[:, :, start:stop]
            keys, values = known
            start = block.first if last else start
            if stop - start == 1 and block.mask is None:
                attend(queries[start], keys.swapaxes(1, 2), values, split[start])
            else:
                split[start:stop] = _attend_many(queries[start:stop], keys, values, block.mask)
        return seen

    def _gated(self, x: Array) -> Array:
        """Return silu(gate) * up. Torch's silu takes a third of the time of NumPy functions."""
        both = self._gates(x, "both").T
        gate, up = both[: len(both) // 2], both[len(both) // 2 :]
        functional.silu(torch.from_numpy(gate), inplace=True)
        gate *= up
        return gate.T


def _attend_many(queries: Array, keys: Array, values: Array, mask: torch.Tensor | None) -> Array:
    """Attend for several rows of one sequence, or for masked rows.

    Args:
        queries: (rows, kv heads, group, size).
        keys: (kv heads, end, size).
        values: (kv heads, end, size).
        mask: See `Block`.
    """
    rows, kv_heads, group, size = queries.shape
    query = torch.from_numpy(queries.transpose(1, 2, 0, 3))
    key, value = torch.from_numpy(keys)[None], torch.from_numpy(values)[None]
    if mask is None:
        found = functional.scaled_dot_product_attention(
            query.reshape(1, -1, rows, size), key, value, is_causal=True, scale=1.0, enable_gqa=True
        )
    else:
        # Stack the heads that share a key as rows of one query. If only the last rows are
        # requested, keep only their rows of each head's mask.
        mask = mask.unflatten(2, (group, -1))[:, :, :, -rows:].flatten(2, 3)
        found = functional.scaled_dot_product_attention(
            query.reshape(1, kv_heads, -1, size), key, value, attn_mask=mask, scale=1.0
        )
    seen: Array = found.view(kv_heads, group, rows, size).numpy().transpose(2, 0, 1, 3)
    return seen
