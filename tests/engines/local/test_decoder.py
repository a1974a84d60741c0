"""Both decoders give the same rows, texts and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from dreamr.engines import SamplingParams
from dreamr.engines.local.cpu.decoder import NumpyDecoder, is_known
from dreamr.engines.local.forward_pass import Part
from dreamr.engines.local.judging import block_mask
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.model import LocalModel
from dreamr.engines.local.packed import ATTENTION
from dreamr.engines.local.torch_decoder import TorchDecoder
from support.local_calls import CANDIDATES, PREFIX, all_same, judge, session_of, stream
from support.local_models import FAMILIES, judging, load_from, question_for


def passes(model: LocalModel) -> torch.Tensor:
    """Return hidden rows of a prompt, of a masked pass after it, and of a token after that.

    The last two rows are those of a prompt and of a masked pass that request only the last row.
    """
    ids = [(7 * i) % 390 for i in range(30)]
    store = model.new_store()

    def run(start: int, stop: int, place: torch.Tensor, mask: Any = None, **wanted: bool) -> Any:
        part = Part(model.tokens(ids[start:stop]), place, store, mask, **wanted)
        return model.decoder([part])[0]

    with torch.inference_mode():
        first = run(0, 12, model.line(0, 12))
        store.advance(12)
        mask = block_mask(12, 9, [3, 9], [4, 4])
        line = [model.line(12, 21), model.line(15, 19), model.line(21, 25)]
        second = run(12, 29, torch.cat(line, -1), mask)
        store.advance(9)
        one = run(29, 30, model.line(21, 22))
        store = model.new_store()
        alone = run(0, 12, model.line(0, 12), last=True)
        store.advance(12)
        masked = run(12, 21, model.line(12, 21), mask[:, :, :9, :21], last=True)
    return torch.cat([first, second, one, alone, masked])


@pytest.mark.parametrize("family", FAMILIES)
def test_both_decoders_give_the_same_rows(
    family: str, numpy_models: dict[str, Loaded], torch_models: dict[str, Loaded]
) -> None:
    first, second = numpy_models[family].model, torch_models[family].model
    assert isinstance(first.decoder, NumpyDecoder)
    assert isinstance(second.decoder, TorchDecoder)
    torch.testing.assert_close(passes(first), passes(second), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_decoders_write_and_judge_the_same(
    family: str, numpy_models: dict[str, Loaded], torch_models: dict[str, Loaded]
) -> None:
    written, judged = [], []
    for loaded in (numpy_models[family], torch_models[family]):
        session = session_of(loaded, question_for(loaded))
        written.append([piece.text for piece in stream(loaded, session, (), SamplingParams(40))])
        judged.append(judge(judging(loaded), session, PREFIX, CANDIDATES))
    assert written[0] == written[1]
    assert all_same(*judged)


def test_the_numpy_decoder_shares_memory_with_the_modules(numpy_models: dict[str, Loaded]) -> None:
    model: Any = numpy_models["qwen3"].model
    joint = model.decoder._layers[0].qkv
    start, size = joint.data_ptr(), joint.nbytes
    attention = model.hf.model.layers[0].self_attn
    for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
        assert start <= linear.weight.data_ptr() < start + size


def test_bfloat16_models_use_the_torch_decoder(folders: dict[str, Path]) -> None:
    half = load_from(folders["qwen3"], dtype="bfloat16", decoder="torch")
    assert half.model.hf.dtype == torch.bfloat16
    assert isinstance(half.model.decoder, TorchDecoder)


def test_a_model_whose_attention_ignores_parts_does_not_pack(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(*given: Any, packed: Any = None, **options: Any) -> Any:
        return sdpa_attention_forward(*given, **options)

    monkeypatch.setitem(AttentionInterface._global_mapping, ATTENTION, whole)
    model = load_from(folders["qwen3"], decoder="torch").model
    assert model.rewinds
    assert not model.packs


def test_length_dependent_rope_is_not_supported_by_the_numpy_decoder(text_model: Loaded) -> None:
    module = text_model.model.hf.get_decoder()
    assert is_known(module)
    known, module.rotary_emb.rope_type = module.rotary_emb.rope_type, "dynamic"
    try:
        assert not is_known(module)
    finally:
        module.rotary_emb.rope_type = known


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_row_alone_equals_the_last_of_all_rows(
    family: str, loaded_models: dict[str, Loaded]
) -> None:
    rows = passes(loaded_models[family].model)
    torch.testing.assert_close(rows[-2:], rows[[11, 20]], rtol=1e-4, atol=1e-4)
