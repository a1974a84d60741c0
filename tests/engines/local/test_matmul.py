"""Products of rows and matrices are the same in each library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from dreamr.engines.local.cpu import matmul
from dreamr.engines.local.cpu.matmul import Array, Product, Products, packing_pays


def buffer(name: str, *shape: int) -> Array:
    return np.full(shape, math.nan, np.float32)


def operands(rows: int, transposed: bool) -> tuple[Array, Array]:
    draws = np.random.default_rng(rows)
    x = draws.standard_normal((rows, 48), np.float32)
    matrix = draws.standard_normal((32, 48), np.float32)
    return x, np.asfortranarray(matrix) if transposed else matrix


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 25, 26, 100])
def test_all_libraries_give_the_same_product(
    rows: int, transposed: bool, packs: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: packs)
    x, matrix = operands(rows, transposed)
    product = Products(matrix.nbytes, buffer).of(matrix)
    with torch.inference_mode():
        assert np.allclose(product(x, "any"), x @ matrix.T, atol=1e-4)
        # Feature-major, like the gated rows of a feed-forward layer.
        assert np.allclose(product(np.asfortranarray(x), "any"), x @ matrix.T, atol=1e-4)


def test_large_matrices_are_not_packed(monkeypatch: Any) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: True)
    monkeypatch.setattr(matmul, "_pack", lambda matrix: pytest.fail("packed"))
    product = Products(2**30, buffer).of(operands(1, transposed=False)[1])
    assert isinstance(product, Product)


def test_nothing_is_packed_if_torch_does_not_support_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    packing_pays.cache_clear()
    try:
        assert not packing_pays()
    finally:
        packing_pays.cache_clear()


def test_one_or_two_rows_do_not_use_the_packed_matrix(monkeypatch: Any) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: True)
    times = matmul._times_packed
    rows: list[int] = []

    def counted(x: torch.Tensor, packed: torch.Tensor) -> Array:
        rows.append(len(x))
        return times(x, packed)

    monkeypatch.setattr(matmul, "_times_packed", counted)
    product = Products(1, buffer).of(operands(1, transposed=False)[1])
    for count in (1, 2, 3, 40):
        product(operands(count, transposed=False)[0], "any")
    assert rows == [3, 40]
