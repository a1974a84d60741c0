"""Products of rows and matrices are the same in each library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.engines.local.cpu import matmul
from dreamr.engines.local.cpu.matmul import (
    Array,
    Bfloat16Products,
    Float32Products,
    bfloat16_pays,
    has_bfloat16,
    packing_pays,
)


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
    product = Float32Products(matrix.nbytes, buffer).of(matrix)
    with torch.inference_mode():
        assert np.allclose(product(x, "any"), x @ matrix.T, atol=1e-4)
        # Feature-major, like the gated rows of a feed-forward layer.
        assert np.allclose(product(np.asfortranarray(x), "any"), x @ matrix.T, atol=1e-4)


def test_large_matrices_are_not_packed(monkeypatch: Any) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: True)
    monkeypatch.setattr(matmul, "_pack", lambda matrix: pytest.fail("packed"))
    Float32Products(2**30, buffer).of(operands(1, transposed=False)[1])


def test_nothing_is_packed_if_torch_does_not_support_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    packing_pays.cache_clear()
    bfloat16_pays.cache_clear()
    try:
        assert not packing_pays()
        assert not bfloat16_pays(((64, 128),))
    finally:
        packing_pays.cache_clear()
        bfloat16_pays.cache_clear()


def test_one_or_two_rows_do_not_use_the_packed_matrix(monkeypatch: Any) -> None:
    monkeypatch.setattr(matmul, "packing_pays", lambda: True)
    times = matmul._times_packed
    rows: list[int] = []

    def counted(x: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return times(x, packed)

    monkeypatch.setattr(matmul, "_times_packed", counted)
    product = Float32Products(1, buffer).of(operands(1, transposed=False)[1])
    for count in (1, 2, 3, 40):
        product(operands(count, transposed=False)[0], "any")
    assert rows == [3, 40]


@pytest.mark.skipif(not has_bfloat16(), reason="no instructions for bfloat16")
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 200), transposed=st.booleans())
def test_bfloat16_products_differ_by_rounding(rows: int, transposed: bool) -> None:
    x, matrix = operands(rows, transposed)
    expected = x @ matrix.T
    with torch.inference_mode():
        for given_rows in (x, np.asfortranarray(x)):
            found = Bfloat16Products().of(matrix)(given_rows, "any")
            assert found.dtype == np.float32
            assert np.linalg.norm(found - expected) < 1e-2 * np.linalg.norm(expected)


@pytest.mark.parametrize(("seconds", "pays"), [(0.5, True), (0.9, False), (2.0, False)])
def test_bfloat16_is_taken_where_it_is_faster_by_a_margin(
    seconds: float, pays: bool, monkeypatch: Any
) -> None:
    times = iter([1.0, 1.0, seconds])
    monkeypatch.setattr(matmul, "_seconds", lambda work: next(times))
    monkeypatch.setattr(matmul, "has_bfloat16", lambda: True)
    bfloat16_pays.cache_clear()
    try:
        assert bfloat16_pays(((64, 128),)) is pays
    finally:
        bfloat16_pays.cache_clear()
