"""Models whose state cannot be rewound: recurrent layers and sliding windows."""

from __future__ import annotations

import pytest
import torch

from dreamr.engines import SamplingParams
from dreamr.engines.local.kv_cache import SnapshotStore
from dreamr.engines.local.load import Loaded
from support.local_calls import (
    CANDIDATES,
    PREFIX,
    all_same,
    count_passes,
    judge,
    reference,
    same,
    session_of,
    stream,
    whole_from,
)
from support.local_models import STATEFUL, judging, load_from, question_for, save_stateful


@pytest.fixture(scope="module", params=STATEFUL)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load_from(save_stateful(request.param, tmp_path_factory.mktemp("stateful")))


def test_models_that_cannot_rewind_use_snapshots(loaded: Loaded) -> None:
    assert isinstance(loaded.model.new_store(), SnapshotStore)
    assert not loaded.model.rewinds
    assert not loaded.model.packs


def test_greedy_text_equals_that_of_generate(loaded: Loaded) -> None:
    talk = question_for(loaded)
    expected = reference(loaded, talk, 30)
    session = session_of(loaded, talk)
    stream(loaded, session, sampling=SamplingParams(30))
    assert session.branches[0].ids[len(session.prompt) :] == expected[:29]


def test_a_prefix_continues_with_the_same_text_each_time(loaded: Loaded) -> None:
    talk = question_for(loaded)
    session = session_of(loaded, talk)
    first = [piece.text for piece in stream(loaded, session, PREFIX)]
    stream(loaded, session, PREFIX[:1])
    for _ in range(3):
        assert [piece.text for piece in stream(loaded, session, PREFIX)] == first


def test_the_prompt_is_prefilled_once(loaded: Loaded) -> None:
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


def test_judging_together_equals_judging_one_by_one(loaded: Loaded) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    session = session_of(loaded, talk)
    together = judge(ask, session, PREFIX, CANDIDATES)
    assert all_same(judge(ask, session, PREFIX, CANDIDATES), together)
    for place, evidence in enumerate(together):
        before = (*PREFIX, *CANDIDATES[:place])
        alone = judge(ask, session_of(loaded, talk), before, CANDIDATES[place : place + 1])
        assert same(evidence, alone[0])


def test_judging_does_not_change_a_concurrent_stream(loaded: Loaded) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    expected = [piece.text for piece in stream(loaded, session_of(loaded, talk), PREFIX)]
    session = session_of(loaded, talk)
    judge(ask, session, PREFIX, CANDIDATES)
    assert [piece.text for piece in stream(loaded, session, PREFIX)] == expected
    judge(ask, session, PREFIX, CANDIDATES)
    assert [piece.text for piece in stream(loaded, session, PREFIX)] == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_reuses_the_tokens_of_a_judge_call(loaded: Loaded, temperature: float) -> None:
    talk, drawn = question_for(loaded, 1), SamplingParams(16, temperature=temperature, seed=5)
    session = session_of(loaded, talk)
    expected = stream(loaded, session, (), drawn)
    own = "".join(piece.text for piece in expected[: whole_from(session, expected, 8)])
    judge(judging(loaded), session, (), (own, "And so?"))
    passes = count_passes(session)
    pieces = stream(loaded, session, (), drawn)
    assert [piece.text for piece in pieces] == [piece.text for piece in expected]
    assert len(passes) <= len(pieces) - 7
