"""Passes of many rows in bfloat16 on a CPU; passes of few rows stay in float32."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.engines import SamplingParams
from dreamr.engines.local import LocalEngine, LocalOptions
from dreamr.engines.local import load as loading
from dreamr.engines.local.cpu import forward
from dreamr.engines.local.cpu.decoder import NumpyDecoder
from dreamr.engines.local.cpu.forward import BFLOAT16_ROWS
from dreamr.engines.local.cpu.matmul import has_bfloat16
from dreamr.engines.local.forward_pass import Part
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.model import LocalModel
from dreamr.engines.local.torch_decoder import TorchDecoder
from dreamr.engines.protocol import DType
from dreamr.errors import Unsupported
from support.local_calls import CANDIDATES, PREFIX, judge, session_of, stream
from support.local_models import judging, load_from, question_for

FAMILY = "qwen3"
NEEDS_BFLOAT16 = pytest.mark.skipif(not has_bfloat16(), reason="no instructions for bfloat16")


@pytest.fixture(scope="module")
def rounded(folders: dict[str, Path]) -> Loaded:
    if not has_bfloat16():
        pytest.skip("no instructions for bfloat16")
    return load_from(folders[FAMILY], dtype="bfloat16")


def hidden(model: LocalModel, sizes: list[int]) -> torch.Tensor:
    """Return the hidden rows of passes in sequence, each with a given number of rows."""
    ids = [(7 * i) % 390 for i in range(sum(sizes))]
    store, start, found = model.new_store(), 0, []
    with torch.inference_mode():
        for rows in sizes:
            stop = start + rows
            mask = None
            if start and rows > 1:
                mask = torch.ones(1, 1, rows, stop, dtype=torch.bool).tril(start)
            part = Part(model.tokens(ids[start:stop]), model.line(start, stop), store, mask)
            found.append(model.decoder([part])[0])
            store.advance(rows)
            start = stop
    return torch.cat(found)


def test_weights_stay_in_float32_and_the_type_is_reported(rounded: Loaded) -> None:
    assert isinstance(rounded.model.decoder, NumpyDecoder)
    assert rounded.model.hf.dtype == torch.float32
    assert rounded.model.dtype == "bfloat16"


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, BFLOAT16_ROWS - 1), min_size=1, max_size=6))
def test_passes_of_few_rows_are_those_of_float32(
    sizes: list[int], rounded: Loaded, numpy_models: dict[str, Loaded]
) -> None:
    expected = hidden(numpy_models[FAMILY].model, sizes)
    assert torch.equal(hidden(rounded.model, sizes), expected)


@pytest.mark.parametrize("sizes", [[BFLOAT16_ROWS], [40, 1], [12, 30, 1]])
def test_passes_of_many_rows_differ_by_rounding(
    sizes: list[int], rounded: Loaded, numpy_models: dict[str, Loaded]
) -> None:
    expected, found = hidden(numpy_models[FAMILY].model, sizes), hidden(rounded.model, sizes)
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 2e-2 * expected.norm()


def test_verdicts_differ_by_rounding(rounded: Loaded, numpy_models: dict[str, Loaded]) -> None:
    scores = []
    for loaded in (numpy_models[FAMILY], rounded):
        session = session_of(loaded, question_for(loaded))
        evidence = judge(judging(loaded), session, PREFIX, CANDIDATES)
        scores.append([one.positive / (one.positive + one.negative) for one in evidence])
    assert scores[0] != scores[1]
    assert scores[1] == pytest.approx(scores[0], abs=0.02)


def test_streams_of_both_types_have_the_same_form(rounded: Loaded) -> None:
    session = session_of(rounded, question_for(rounded))
    pieces = list(stream(rounded, session, (), SamplingParams(20)))
    assert sum(piece.tokens for piece in pieces) <= 20
    assert pieces[-1].finish is not None


@NEEDS_BFLOAT16
@pytest.mark.parametrize(("pays", "found"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_what_is_faster(
    pays: bool, found: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "bfloat16_pays", lambda *_: pays)
    assert load_from(folders[FAMILY], dtype="auto").model.dtype == found
    assert load_from(folders[FAMILY]).model.dtype == "float32"


@NEEDS_BFLOAT16
def test_products_that_are_wrong_in_bfloat16_are_not_used(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def of(self, matrix: Any) -> Any:
            return lambda x, name: 1.2 * (x @ matrix.T)

    monkeypatch.setattr(forward, "Bfloat16Products", Wrong)
    model = load_from(folders[FAMILY], dtype="auto").model
    assert isinstance(model.decoder, NumpyDecoder)
    assert model.dtype == "float32"


@NEEDS_BFLOAT16
def test_models_of_other_decoders_are_in_bfloat16_as_a_whole(folders: dict[str, Path]) -> None:
    model = load_from(folders[FAMILY], dtype="bfloat16", decoder="torch").model
    assert isinstance(model.decoder, TorchDecoder)
    assert (model.hf.dtype, model.dtype) == (torch.bfloat16, "bfloat16")


@NEEDS_BFLOAT16
def test_a_model_that_the_numpy_decoder_does_not_know_is_in_bfloat16_as_a_whole(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamr.engines.local.model.is_known", lambda module: False)
    model = load_from(folders[FAMILY], dtype="bfloat16").model
    assert isinstance(model.decoder, TorchDecoder)
    assert (model.hf.dtype, model.dtype) == (torch.bfloat16, "bfloat16")
    assert load_from(folders[FAMILY], dtype="auto").model.dtype == "float32"


@NEEDS_BFLOAT16
def test_large_models_are_in_bfloat16_as_a_whole(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_LARGE", 1)
    assert load_from(folders[FAMILY], dtype="bfloat16").model.hf.dtype == torch.bfloat16


def test_a_processor_without_bfloat16_is_an_error_that_says_what_to_do(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "has_bfloat16", lambda: False)
    with pytest.raises(Unsupported, match="use --dtype auto or float32"):
        load_from(folders[FAMILY], dtype="bfloat16")
    assert load_from(folders[FAMILY], dtype="bfloat16", deterministic=True).model.dtype == "float32"


@NEEDS_BFLOAT16
@pytest.mark.parametrize("dtype", get_args(DType))
def test_deterministic_engines_on_a_cpu_compute_in_float32(
    dtype: DType, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "bfloat16_pays", lambda *_: True)
    assert load_from(folders[FAMILY], dtype=dtype, deterministic=True).model.dtype == "float32"


@NEEDS_BFLOAT16
def test_an_engine_reports_its_type(folders: dict[str, Path]) -> None:
    async def reported() -> str:
        async with await LocalEngine.open(
            str(folders[FAMILY]), LocalOptions(dtype="bfloat16")
        ) as engine:
            return engine.capabilities.dtype

    assert asyncio.run(reported()) == "bfloat16"
