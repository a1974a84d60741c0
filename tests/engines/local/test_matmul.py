from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from dreamr.engines.local.cpu import matmul
from dreamr.engines.local.cpu.matmul import Array, Product, Products, packing_pays


def room(name: str, *shape: int) -> Array:
    return np.full(shape, math.nan, np.float32)


def given(rows: int, turned: bool) -> tuple[Array, Array]:
    draws = np.random.default_rng(rows)
    x = draws.standard_normal((rows, 48), np.float32)
    matrix = draws.standard_normal((32, 48), np.float32)
    return x, np.asfortranarray(matrix) if turned else matrix


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 25, 26, 100])
def test_a_product_is_the_same_by_whichever_library(
    rows: int, turned: bool, packs: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: packs)
    x, matrix = given(rows, turned)
    product = Products(matrix.nbytes, room).of(matrix)
    with torch.inference_mode():
        assert np.allclose(product(x, "any"), x @ matrix.T, atol=1e-4)
        # As the gated rows of a feed-forward layer lie: feature by feature.
        assert np.allclose(product(np.asfortranarray(x), "any"), x @ matrix.T, atol=1e-4)


def test_matrices_that_fill_the_memory_are_not_kept_twice(monkeypatch: Any) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: True)
    monkeypatch.setattr(matmul, "_pack", lambda matrix: pytest.fail("packed"))
    product = Products(2**30, room).of(given(1, turned=False)[1])
    assert isinstance(product, Product)


def test_a_torch_that_cannot_pack_does_without(monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    packing_pays.cache_clear()
    try:
        assert not packing_pays()
    finally:
        packing_pays.cache_clear()


def test_a_row_alone_is_not_multiplied_by_what_suits_many(monkeypatch: Any) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: True)
    times = matmul._times_packed
    rows: list[int] = []

    def counted(x: torch.Tensor, packed: torch.Tensor) -> Array:
        rows.append(len(x))
        return times(x, packed)

    monkeypatch.setattr(matmul, "_times_packed", counted)
    product = Products(1, room).of(given(1, turned=False)[1])
    for count in (1, 2, 3, 40):
        product(given(count, turned=False)[0], "any")
    assert rows == [3, 40]
