"""Several rows times a matrix, by whichever library does it fastest on this machine.

PyTorch multiplies by MKL, which on some processors (an AMD EPYC was measured) reaches half of what
oneDNN does with a matrix that was packed for it beforehand; on others the two are alike. So it is
measured once a process, and where packing pays, matrices are packed too: a second copy of them.
NumPy multiplies a few rows feature by feature faster than MKL, and slower than oneDNN.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
import torch

from dreamr.engines.local.cpu.decode_step import Array

Room: TypeAlias = Callable[..., Array]

_PACKED_FROM = 3  # rows
_SOME = range(4, 26)  # rows: so many NumPy multiplies faster than MKL, within a pass
_MOST_BYTES = 512 * 2**20  # of all matrices: more are not kept twice
_PAYS = 0.8  # of MKL's time
_ROWS, _WIDTH, _WIDER = 32, 256, 1024  # what is measured
_TRIES, _TIMES = 7, 10


class Products:
    """Makes products of a decoder's matrices.

    total: bytes of all of them. room: gives memory by name, see `forward`.
    """

    def __init__(self, total: int, room: Room) -> None:
        self._packs = total <= _MOST_BYTES and packing_pays()
        self._room = room

    def of(self, matrix: Array) -> Product:
        """The product with a matrix (out, in), in either order of memory."""
        return Product(matrix, _pack(matrix) if self._packs else None, self._room)


class Product:
    """Rows (rows, in) times one matrix (out, in): (rows, out), in either order of memory."""

    def __init__(self, matrix: Array, packed: torch.Tensor | None, room: Room) -> None:
        self._matrix, self._packed, self._room = matrix, packed, room
        self._turned = torch.from_numpy(matrix.T)

    def __call__(self, x: Array, name: str) -> Array:
        """The product; in the room's memory of this name, if in any that is kept."""
        if self._packed is not None and len(x) >= _PACKED_FROM:
            return _times_packed(torch.from_numpy(x), self._packed)
        if self._packed is None and len(x) in _SOME:
            return np.dot(self._matrix, x.T, self._room(name, len(self._matrix), len(x))).T
        product: Array = torch.mm(torch.from_numpy(x), self._turned).numpy()
        return product


@cache
def packing_pays() -> bool:
    """Whether oneDNN is clearly faster than MKL here, at a size that passes have; measured."""
    if not (
        torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return False
    x = torch.ones(_ROWS, _WIDTH)
    matrix = np.ones((_WIDER, _WIDTH), np.float32)
    packed, turned = _pack(matrix), torch.from_numpy(matrix.T)
    plain = _seconds(lambda: torch.mm(x, turned))
    return _seconds(lambda: _times_packed(x, packed)) < _PAYS * plain


def _seconds(work: Callable[[], object]) -> float:
    """The least of several tries: others may use the processor meanwhile."""
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
