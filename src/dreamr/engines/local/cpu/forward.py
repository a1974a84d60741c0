"""Several rows through a decoder's layers in NumPy: of one sequence, or of many at once.

Whatever works on a row alone is done for all rows together, so that a pass reads the weights once;
only attention goes from sequence to sequence, each over its own store. What is worked on lives in
memory that is kept from pass to pass.
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
from dreamr.engines.local.cpu.matmul import Products
from dreamr.engines.local.forward_pass import Interrupted


@dataclass(frozen=True, slots=True)
class Block:
    """The rows start .. stop of a pass: the next tokens of one sequence.

    pairs: the sequence's keys and values, (2, layers, kv heads, capacity, size), `length` rows of
    them valid. mask: added to attention scores, (1, 1, group * rows, length + rows), where group is
    query heads a key head; None means causal, on an empty store, or one row. first: in the last
    layer only rows from here on are wanted.
    """

    pairs: Array
    length: int
    start: int
    stop: int
    mask: torch.Tensor | None
    first: int


class ForwardPass:
    """All layers and the last norm, for the rows of several blocks.

    layers, norm: of `NumpyDecoder`; their matrices are read where they lie. factors: see `turns`.
    """

    def __init__(self, layers: Sequence[Any], norm: Any, factors: tuple[Array, Array]) -> None:
        self._room = _Room()
        total = sum(
            matrix.nbytes
            for layer in layers
            for matrix in (layer.qkv, layer.out, layer.gates, layer.down)
        )
        products = Products(total, self._room)
        self._layers = [_RowsLayer(layer, self._room, products) for layer in layers]
        self._norm = _RowsNorm(norm, self._room)
        self._straight, self._crossed = factors

    def __call__(
        self,
        x: Array,
        cos: Array,
        sin: Array,
        blocks: Sequence[Block],
        interrupted: Callable[[], bool],
    ) -> Array:
        """The wanted hidden rows (wanted, width); keys and values of all go to the stores.

        x: embedding rows (rows, width). cos, sin: of their positions, (rows, size). interrupted:
        asked before each layer whether to go on.

        Raises:
            Interrupted: not to go on.
        """
        wide = self._turned("wide", self._straight, cos)
        cross = self._turned("cross", self._crossed, sin)
        top = len(self._layers) - 1
        x = x.copy()
        for number, layer in enumerate(self._layers):
            if interrupted():
                raise Interrupted
            x = layer(x, wide[number], cross[number], blocks, number, last=number == top)
        return self._norm(x).copy()

    def _turned(self, name: str, factors: Array, angles: Array) -> Array:
        """Factors of all layers times cosines or sines: (layers, rows, heads, 2, half)."""
        spread = angles.reshape(len(angles), 1, 2, -1)
        room = self._room(name, len(factors), len(angles), *factors.shape[1:])
        return np.multiply(factors[:, None], spread, room)


class _Room:
    """Memory by name. Fresh memory costs a page fault for every 4 KiB of it, in every layer."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def __call__(self, name: str, *shape: int) -> Array:
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or len(kept) < size:
            kept = self._kept[name] = np.empty(size, np.float32)
        return kept[:size].reshape(shape)


class _RowsNorm:
    """Root-mean-square norm of rows; returns the same memory each time."""

    def __init__(self, norm: Any, room: _Room) -> None:
        self._weight = as_numpy(norm.weight)
        self._eps, self._size = norm.eps, norm.size
        self._room = room

    def __call__(self, x: Array) -> Array:
        scale = np.vecdot(x, x)
        scale /= self._size
        scale += self._eps
        np.sqrt(scale, scale)
        normed = np.multiply(x, self._weight, self._room("normed", *x.shape))
        normed /= scale[:, None]
        return normed


class _RowsLayer:
    """One decoder layer. x is (rows, width) throughout."""

    def __init__(self, layer: Any, room: _Room, products: Products) -> None:
        self._before, self._after = _RowsNorm(layer.before, room), _RowsNorm(layer.after, room)
        # Transposed, (out, in): views of where they lie.
        matrices = (layer.qkv, layer.out, layer.gates, layer.down)
        self._qkv, self._out, self._gates, self._down = (
            products.of(as_numpy(matrix).T) for matrix in matrices
        )
        self._bias = None if layer.bias is None else as_numpy(layer.bias)
        self._eps = None if layer.head_eps is None else layer.head_eps * layer.size
        self._room = room
        self._size, self._kv_heads = layer.size, layer.kv_heads
        self._asked = layer.heads * layer.size
        self._split = (layer.heads + layer.kv_heads) * layer.size

    def __call__(
        self, x: Array, wide: Array, cross: Array, blocks: Sequence[Block], number: int, last: bool
    ) -> Array:  # fmt: skip
        """X after this layer, its keys and values written to the stores as layer `number`.

        wide, cross: (rows, heads + kv heads, 2, half). last: only wanted rows go on.
        """
        joint = self._qkv(self._before(x), "joint")
        lines = self._room("lines", *joint.shape)
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
        """Norm and rotate queries and keys in place: (rows, heads + kv heads, 2, half)."""
        if self._eps is not None:
            heads = halves.reshape(*halves.shape[:2], -1)
            squares = np.vecdot(heads, heads)
            squares += self._eps
            halves /= np.sqrt(squares, squares)[..., None, None]
        one = np.multiply(halves, wide, self._room("one", *wide.shape))
        other = np.multiply(halves[:, :, ::-1], cross, self._room("other", *wide.shape))
        np.add(one, other, halves)

    def _attend(self, lines: Array, blocks: Sequence[Block], number: int, *, last: bool) -> Array:
        """Write keys and values to the stores; what rows see, (rows, heads * size)."""
        rows = len(lines)
        fresh = lines[:, self._asked :].reshape(rows, 2, self._kv_heads, self._size)
        fresh = fresh.transpose(1, 2, 0, 3)
        queries = lines[:, : self._asked].reshape(rows, self._kv_heads, -1, self._size)
        seen = self._room("seen", rows, self._asked)
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
        """silu(gate) * up. Torch's takes a third of the time of any made of NumPy's functions."""
        both = self._gates(x, "both").T
        gate, up = both[: len(both) // 2], both[len(both) // 2 :]
        functional.silu(torch.from_numpy(gate), inplace=True)
        gate *= up
        return gate.T


def _attend_many(queries: Array, keys: Array, values: Array, mask: torch.Tensor | None) -> Array:
    """Several rows of one sequence, or masked ones: queries (rows, kv heads, group, size)."""
    rows, kv_heads, group, size = queries.shape
    query = torch.from_numpy(queries.transpose(1, 2, 0, 3))
    key, value = torch.from_numpy(keys)[None], torch.from_numpy(values)[None]
    if mask is None:
        found = functional.scaled_dot_product_attention(
            query.reshape(1, -1, rows, size), key, value, is_causal=True, scale=1.0, enable_gqa=True
        )
    else:
        # The heads that share a key lie one under the other, as rows of one query. Of a last row
        # that goes on alone, only the last line of each head's mask is left.
        mask = mask.unflatten(2, (group, -1))[:, :, :, -rows:].flatten(2, 3)
        found = functional.scaled_dot_product_attention(
            query.reshape(1, kv_heads, -1, size), key, value, attn_mask=mask, scale=1.0
        )
    seen: Array = found.view(kv_heads, group, rows, size).numpy().transpose(2, 0, 1, 3)
    return seen
