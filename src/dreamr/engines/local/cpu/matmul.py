"""Products of several rows with a matrix, by the library that is fastest on this machine.

PyTorch multiplies with MKL. On some processors (measured on an AMD EPYC), MKL reaches half the
speed of oneDNN with a matrix that was packed for it beforehand; on others, they are equal. So this
is measured once per process. If packing is worthwhile, matrices are packed too, as a second copy.
For a few rows, a NumPy product in feature-major order is faster than MKL and slower than oneDNN.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
import torch

from dreamr.engines.local.cpu.decode_step import Array

Buffers: TypeAlias = Callable[..., Array]

_PACKED_FROM = 3  # rows from which the packed matrix is used
_NUMPY_ROWS = range(4, 26)  # numbers of rows for which NumPy is faster than MKL, in a pass
_MOST_BYTES = 512 * 2**20  # size of all matrices up to which they are kept twice
_WORTHWHILE = 0.8  # largest share of MKL's time at which packing is worthwhile
_ROWS, _WIDTH, _WIDER = 32, 256, 1024  # sizes of the measured product
_TRIES, _TIMES = 7, 10


class Products:
    """Factory of the products with a decoder's matrices.

    Args:
        total: Size of all matrices in bytes.
        buffers: Returns an array by name and shape; see `forward`.
    """

    def __init__(self, total: int, buffers: Buffers) -> None:
        self._packs = total <= _MOST_BYTES and packing_pays()
        self._buffers = buffers

    def of(self, matrix: Array) -> Product:
        """Return the product with a matrix, (out, in), in either memory order."""
        return Product(matrix, _pack(matrix) if self._packs else None, self._buffers)


class Product:
    """Product of rows, (rows, in), with one matrix, (out, in)."""

    def __init__(self, matrix: Array, packed: torch.Tensor | None, buffers: Buffers) -> None:
        self._matrix, self._packed, self._buffers = matrix, packed, buffers
        self._transposed = torch.from_numpy(matrix.T)

    def __call__(self, x: Array, name: str) -> Array:
        """Return the product, (rows, out), in either memory order.

        Args:
            x: Rows, (rows, in).
            name: Name of the buffer to write to, if the library can write to one.
        """
        if self._packed is not None and len(x) >= _PACKED_FROM:
            return _times_packed(torch.from_numpy(x), self._packed)
        if self._packed is None and len(x) in _NUMPY_ROWS:
            return np.dot(self._matrix, x.T, self._buffers(name, len(self._matrix), len(x))).T
        product: Array = torch.mm(torch.from_numpy(x), self._transposed).numpy()
        return product


@cache
def packing_pays() -> bool:
    """Measure whether oneDNN is clearly faster than MKL here, at a typical size of a pass."""
    if not (
        torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return False
    x = torch.ones(_ROWS, _WIDTH)
    matrix = np.ones((_WIDER, _WIDTH), np.float32)
    packed, transposed = _pack(matrix), torch.from_numpy(matrix.T)
    plain = _seconds(lambda: torch.mm(x, transposed))
    return _seconds(lambda: _times_packed(x, packed)) < _WORTHWHILE * plain


def _seconds(work: Callable[[], object]) -> float:
    """Return the shortest of several times, because other processes may use the processor."""
    took = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        for _ in range(_TIMES):
            work()
        took.append(time.perf_counter() - began)
    return min(took)


def _pack(matrix: Array) -> torch.Tensor:
    given = torch.from_numpy(np.ascontiguousarray(matrix))
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(given, _ROWS)
    return packed


def _times_packed(x: torch.Tensor, packed: torch.Tensor) -> Array:
    product: Array = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "").numpy()
    return product
