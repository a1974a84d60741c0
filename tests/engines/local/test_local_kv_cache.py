"""Models whose state cannot be rewound: recurrent layers and sliding windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from local_models import SPECIAL, TEXT, judging, make_tokenizer, question_for
from test_local_generate import count_passes, reference, session_of, stream, whole_from
from test_local_judging import CANDIDATES, PREFIX, judge, same
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
)

from dreamr.engines import SamplingParams
from dreamr.engines.local.kv_cache import SnapshotStore
from dreamr.engines.local.load import Loaded, load
from dreamr.engines.local.options import LocalOptions


def _hybrid() -> Any:
    config = Qwen3_5TextConfig(
        **TEXT,
        head_dim=16,
        layer_types=["linear_attention", "full_attention", "linear_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
    )
    return Qwen3_5ForCausalLM(config)


def _sliding() -> Any:
    config = Gemma3TextConfig(
        **TEXT,
        head_dim=16,
        sliding_window=24,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    return Gemma3ForCausalLM(config)


@pytest.fixture(scope="module", params=[_hybrid, _sliding])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder: Path = tmp_path_factory.mktemp("stateful")
    tokenizer = make_tokenizer()
    torch.manual_seed(3)
    model = request.param()
    model.generation_config.eos_token_id = int(tokenizer.convert_tokens_to_ids(SPECIAL[2]))
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with torch.inference_mode():
        return load(str(folder), LocalOptions())


def test_such_models_get_snapshots(loaded: Loaded) -> None:
    assert isinstance(loaded.model.new_store(), SnapshotStore)
    assert not loaded.model.rewinds


def test_greedy_text_is_that_of_generate(loaded: Loaded) -> None:
    talk = question_for(loaded)
    expected = reference(loaded, talk, 30)
    session = session_of(loaded, talk)
    stream(loaded, session, sampling=SamplingParams(30))
    assert session.branches[0].ids[len(session.prompt) :] == expected[:29]


def test_a_prefix_come_back_to_goes_on_as_the_first_time(loaded: Loaded) -> None:
    talk = question_for(loaded)
    session = session_of(loaded, talk)
    first = [piece.text for piece in stream(loaded, session, PREFIX)]
    stream(loaded, session, PREFIX[:1])
    for _ in range(3):
        assert [piece.text for piece in stream(loaded, session, PREFIX)] == first


def test_the_prompt_is_read_once(loaded: Loaded) -> None:
    session = session_of(loaded, question_for(loaded))
    stream(loaded, session, PREFIX)
    longer = session.tokens(session.walk([*PREFIX, "And so?"]))
    other = session.tokens(session.walk(["Another way to begin."]))
    with torch.inference_mode():
        branch = session.acquire("stream", longer)
        assert len(branch.ids) == len(session.tokens(session.walk(PREFIX))) - 1
        session.release(branch)
        branch = session.acquire("stream", other)
        assert len(branch.ids) == len(session.prompt) - 1


def test_together_is_one_by_one(loaded: Loaded) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    session = session_of(loaded, talk)
    together = judge(ask, session, PREFIX, CANDIDATES)
    assert all(map(same, judge(ask, session, PREFIX, CANDIDATES), together))
    for place, evidence in enumerate(together):
        before = (*PREFIX, *CANDIDATES[:place])
        alone = judge(ask, session_of(loaded, talk), before, CANDIDATES[place : place + 1])
        assert same(evidence, alone[0])


def test_a_stream_goes_on_undisturbed_by_judging_beside_it(loaded: Loaded) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    expected = [piece.text for piece in stream(loaded, session_of(loaded, talk), PREFIX)]
    session = session_of(loaded, talk)
    judge(ask, session, PREFIX, CANDIDATES)
    assert [piece.text for piece in stream(loaded, session, PREFIX)] == expected
    judge(ask, session, PREFIX, CANDIDATES)
    assert [piece.text for piece in stream(loaded, session, PREFIX)] == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_begins_with_what_judging_its_own_text_showed(
    loaded: Loaded, temperature: float
) -> None:
    talk, drawn = question_for(loaded, 1), SamplingParams(16, temperature=temperature, seed=5)
    session = session_of(loaded, talk)
    expected = stream(loaded, session, (), drawn)
    own = "".join(piece.text for piece in expected[: whole_from(session, expected, 8)])
    judge(judging(loaded), session, (), (own, "And so?"))
    passes = count_passes(session)
    pieces = stream(loaded, session, (), drawn)
    assert [piece.text for piece in pieces] == [piece.text for piece in expected]
    assert len(passes) <= len(pieces) - 7
