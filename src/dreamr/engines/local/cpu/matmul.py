"""Products of several rows with a matrix, by the library that is fastest on this machine.

PyTorch multiplies with MKL. On some processors (measured on an AMD EPYC), MKL reaches half the
speed of oneDNN with a matrix that was packed for it beforehand; on others, they are equal. So this
is measured once per process. If packing is worthwhile, matrices are packed too, as a second copy.
For a few rows, a NumPy product in feature-major order is faster than MKL and slower than oneDNN.

Passes of many rows can multiply in bfloat16 instead, with sums in float32. Processors with
instructions for that take 0.2 to 0.7 of the time, others more than for float32, so this is
measured too. A token is then rounded differently in a pass of many rows than in one of few, so
runs whose text must not depend on timing use float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol, TypeAlias

import numpy as np
import torch

from dreamr.engines.local.cpu.decode_step import Array

Buffers: TypeAlias = Callable[..., Array]

MOST_BYTES = 512 * 2**20  # size of all matrices in float32 up to which copies of them are kept
_PACKED_FROM = 3  # rows from which the packed matrix is used
_NUMPY_ROWS = range(4, 26)  # numbers of rows for which NumPy is faster than MKL, in a pass
_WORTHWHILE = 0.8  # largest share of the usual time at which another way is worthwhile
_ROWS, _WIDTH, _WIDER = 32, 256, 1024  # sizes of the measured product
_MANY_ROWS = 36  # the same for bfloat16: a verdict, since longer passes gain more
_TRIES, _TIMES = 7, 10


class Product(Protocol):
    """Product of rows, (rows, in), with one matrix, (out, in)."""

    def __call__(self, x: Array, name: str) -> Array:
        """Return the product, (rows, out) in float32, in either memory order.

        Args:
            x: Rows, (rows, in), in float32.
            name: Name of the buffer to write to, if the library can write to one.
        """
        ...


class Products(Protocol):
    """Factory of the products with a decoder's matrices."""

    def of(self, matrix: Array) -> Product:
        """Return the product with a matrix, (out, in) in float32, in either memory order."""
        ...


class Float32Products:
    """`Products` in float32.

    Args:
        total: Size of all matrices in bytes.
        buffers: Returns an array by name and shape; see `forward`.
    """

    def __init__(self, total: int, buffers: Buffers) -> None:
        self._packs = total <= MOST_BYTES and packing_pays()
        self._buffers = buffers

    def of(self, matrix: Array) -> Product:
        """Return the product with a matrix; see `Products`."""
        return _Float32Product(matrix, _pack(matrix) if self._packs else None, self._buffers)


class Bfloat16Products:
    """`Products` in bfloat16, with copies of the matrices; needs `has_bfloat16`."""

    def of(self, matrix: Array) -> Product:
        """Return the product with a matrix; see `Products`."""
        packed = _pack(matrix, torch.bfloat16)
        return lambda x, name: _rounded(torch.from_numpy(x), packed).numpy()


class _Float32Product:
    """`Product` in float32."""

    def __init__(self, matrix: Array, packed: torch.Tensor | None, buffers: Buffers) -> None:
        self._matrix, self._packed, self._buffers = matrix, packed, buffers
        self._transposed = torch.from_numpy(matrix.T)

    def __call__(self, x: Array, name: str) -> Array:
        if self._packed is not None and len(x) >= _PACKED_FROM:
            return _times_packed(torch.from_numpy(x), self._packed).numpy()
        if self._packed is None and len(x) in _NUMPY_ROWS:
            return np.dot(self._matrix, x.T, self._buffers(name, len(self._matrix), len(x))).T
        product: Array = torch.mm(torch.from_numpy(x), self._transposed).numpy()
        return product


@cache
def packing_pays() -> bool:
    """Measure whether oneDNN is clearly faster than MKL here, at a typical size of a pass."""
    if not _has_onednn():
        return False
    x, matrix = _operands(_ROWS)
    packed, transposed = _pack(matrix), torch.from_numpy(matrix.T)
    plain = _seconds(lambda: torch.mm(x, transposed))
    return _seconds(lambda: _times_packed(x, packed)) < _WORTHWHILE * plain


@cache
def bfloat16_pays(sizes: Sequence[tuple[int, int]]) -> bool:
    """Measure whether bfloat16 is clearly faster than the faster library in float32 here.

    The time includes the conversions of the rows, which small matrices do not repay.

    Args:
        sizes: Inputs and outputs of the matrices of a layer, in a tuple.
    """
    if not has_bfloat16():
        return False
    plain = rounded = 0.0
    for width, wider in sizes:
        single, packed_single, half = _float32_and_bfloat16(width, wider)
        plain += min(single, packed_single)
        rounded += half
    return rounded < _WORTHWHILE * plain


def _float32_and_bfloat16(width: int, wider: int) -> tuple[float, float, float]:
    """Return the seconds of a product by MKL, by oneDNN, and by oneDNN in bfloat16."""
    x, matrix = _operands(_MANY_ROWS, width, wider)
    packed, transposed = _pack(matrix), torch.from_numpy(matrix.T)
    half = _pack(matrix, torch.bfloat16)
    return (
        _seconds(lambda: torch.mm(x, transposed)),
        _seconds(lambda: _times_packed(x, packed)),
        _seconds(lambda: _rounded(x, half)),
    )


def has_bfloat16() -> bool:
    """Return whether the processor has the instructions that oneDNN needs for bfloat16."""
    return _has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _has_onednn() -> bool:
    available = torch.backends.mkldnn.is_available()
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _operands(rows: int, width: int = _WIDTH, wider: int = _WIDER) -> tuple[torch.Tensor, Array]:
    return torch.ones(rows, width), np.ones((wider, width), np.float32)


def _seconds(work: Callable[[], object]) -> float:
    """Return the shortest of several times, because other processes may use the processor."""
    took = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        for _ in range(_TIMES):
            work()
        took.append(time.perf_counter() - began)
    return min(took)


def _pack(matrix: Array, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    given = torch.from_numpy(np.ascontiguousarray(matrix)).to(dtype)
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(given, _ROWS)
    return packed


def _times_packed(x: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    return product


def _rounded(x: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
    return _times_packed(x.bfloat16(), packed).float()
