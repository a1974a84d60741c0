"""Our own loop over a decoder's layers gives what the modules give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from local_models import FAMILIES

from dreamr.engines.local.cpu.decoder import NumpyDecoder, is_known
from dreamr.engines.local.judging import block_mask
from dreamr.engines.local.load import Loaded, load
from dreamr.engines.local.model import Model
from dreamr.engines.local.options import LocalOptions


@pytest.fixture(scope="module")
def plain_models(folders: dict[str, Path]) -> dict[str, Loaded]:
    options = LocalOptions(lean=False)
    with torch.inference_mode():
        return {family: load(str(folder), options) for family, folder in folders.items()}


def passes(model: Model) -> torch.Tensor:
    """Hidden rows of a prompt, of a masked pass behind it, and of a token behind that.

    Then those of the last rows alone, in a prompt and in a masked pass.
    """
    ids = [(7 * i) % 390 for i in range(30)]
    store = model.new_store()
    with torch.inference_mode():
        first = model.decoder(model.tokens(ids[:12]), model.line(0, 12), store, None, {})
        store.advance(12)
        mask = block_mask(12, 9, [3, 9], [4, 4])
        line = [model.line(12, 21), model.line(15, 19), model.line(21, 25)]
        second = model.decoder(model.tokens(ids[12:29]), torch.cat(line, -1), store, mask, {})
        store.advance(9)
        one = model.decoder(model.tokens(ids[29:]), model.line(21, 22), store, None, {})
        store = model.new_store()
        alone = model.decoder(model.tokens(ids[:12]), model.line(0, 12), store, None, {}, True)
        store.advance(12)
        mask = mask[:, :, :9, :21]
        behind = model.decoder(model.tokens(ids[12:21]), model.line(12, 21), store, mask, {}, True)
    return torch.cat([first, second, one, alone, behind])


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_equal_those_of_the_modules(
    family: str, loaded_models: dict[str, Loaded], plain_models: dict[str, Loaded]
) -> None:
    lean, plain = loaded_models[family].model, plain_models[family].model
    assert isinstance(lean.decoder, NumpyDecoder)
    assert not isinstance(plain.decoder, NumpyDecoder)
    torch.testing.assert_close(passes(lean), passes(plain), rtol=1e-4, atol=1e-4)


def test_modules_and_loop_share_their_weights(text_model: Loaded) -> None:
    layer = text_model.model.hf.model.layers[0]
    joint = text_model.model.decoder._layers[0].qkv
    start, size = joint.data_ptr(), joint.nbytes
    for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
        assert start <= linear.weight.data_ptr() < start + size


def test_half_precision_is_left_to_the_modules(folders: dict[str, Path]) -> None:
    with torch.inference_mode():
        half = load(str(folders["qwen3"]), LocalOptions(dtype="bfloat16"))
    assert half.model.hf.dtype == torch.bfloat16
    assert not isinstance(half.model.decoder, NumpyDecoder)


def test_ropes_that_change_with_the_length_are_left_to_the_modules(text_model: Loaded) -> None:
    module = text_model.model.hf.get_decoder()
    assert is_known(module)
    known, module.rotary_emb.rope_type = module.rotary_emb.rope_type, "dynamic"
    try:
        assert not is_known(module)
    finally:
        module.rotary_emb.rope_type = known


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_row_alone_is_what_it_is_among_all(
    family: str, loaded_models: dict[str, Loaded]
) -> None:
    rows = passes(loaded_models[family].model)
    torch.testing.assert_close(rows[-2:], rows[[11, 20]], rtol=1e-4, atol=1e-4)
