"""Tokens that a stream reuses from a judge call equal those that it would compute."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dreamr.engines import SamplingParams
from dreamr.engines.local.load import Loaded
from support.local_calls import CANDIDATES, count_passes, judge, session_of, stream, whole_from
from support.local_models import judging, question_for


@given(seed=st.integers(0, 99), wrong=st.text("ab .", max_size=9), least=st.integers(1, 20))
@settings(max_examples=12, deadline=None)
def test_a_greedy_stream_with_reuse_writes_the_same_text(
    loaded_models: dict[str, Loaded], seed: int, wrong: str, least: int
) -> None:
    text_model = loaded_models["qwen3"]
    talk = question_for(text_model, seed)
    alone = session_of(text_model, talk)
    expected = stream(text_model, alone)
    own = "".join(piece.text for piece in expected[: whole_from(alone, expected, least)])
    session = session_of(text_model, talk)
    judge(judging(text_model), session, (), (own + wrong,))
    pieces = stream(text_model, session)
    assert [piece.text for piece in pieces] == [piece.text for piece in expected]
    logprobs = [piece.logprob for piece in expected]
    assert [piece.logprob for piece in pieces] == pytest.approx(logprobs, abs=1e-4)


def test_reused_tokens_need_no_pass(text_model: Loaded) -> None:
    talk = question_for(text_model)
    session = session_of(text_model, talk)
    pieces = stream(text_model, session)
    own = "".join(piece.text for piece in pieces[: whole_from(session, pieces, 8)])
    judge(judging(text_model), session, (), (own,))
    greedy = len(session.root.greedy)
    assert greedy > 8
    passes = count_passes(session)
    assert len(stream(text_model, session, sampling=SamplingParams(greedy + 3))) == greedy + 3
    assert len(passes) == 3


@given(
    seed=st.integers(0, 999),
    temperature=st.sampled_from([0.4, 1.0, 1.7]),
    top_p=st.sampled_from([1.0, 0.8]),
    wrong=st.text("ab .", max_size=9),
    least=st.integers(1, 9),
)
@settings(max_examples=16, deadline=None, derandomize=True)
def test_a_sampling_stream_with_reuse_writes_the_same_text(
    loaded_models: dict[str, Loaded],
    seed: int,
    temperature: float,
    top_p: float,
    wrong: str,
    least: int,
) -> None:
    """So the distribution is unchanged, and tokens that agree with the step need no pass.

    The texts are short and the examples fixed: where two tokens are equally likely up to rounding,
    or a draw falls between two, a pass over several rows may choose the other.
    """
    text_model = loaded_models["qwen3"]
    talk = question_for(text_model, seed % 3)
    drawn = SamplingParams(12, temperature=temperature, top_p=top_p, seed=seed, logprobs=True)
    alone = session_of(text_model, talk)
    expected = stream(text_model, alone, (), drawn)
    assume(len(expected) > 9)
    own = "".join(piece.text for piece in expected[: whole_from(alone, expected, least)])
    session = session_of(text_model, talk)
    judge(judging(text_model), session, (), (own + wrong,))
    passes = count_passes(session)
    pieces = stream(text_model, session, (), drawn)
    assert [piece.text for piece in pieces] == [piece.text for piece in expected]
    logprobs = [piece.logprob for piece in expected]
    assert [piece.logprob for piece in pieces] == pytest.approx(logprobs, abs=1e-4)
    assert len(passes) < len(pieces)


def test_tokens_sampled_with_reuse_follow_the_distribution_of_the_model(
    text_model: Loaded,
) -> None:
    """A token of a greedy draft is kept with the model's probability of it."""
    talk, draws, warmth = question_for(text_model), 2000, 0.5
    session = session_of(text_model, talk)
    pieces = stream(text_model, session)
    drafted = "".join(piece.text for piece in pieces[: whole_from(session, pieces, 8)])
    judge(judging(text_model), session, (), (drafted,))
    assert session.root.judged is not None
    first = session.root.judged.ids[0]
    made = []
    for seed in range(draws):
        stream(text_model, session, (), SamplingParams(2, temperature=warmth, seed=seed))
        # -1 where the turn has ended
        made.append([*session.root.tails[-1].generation.ids, -1, -1][:2])
    kept = [second for begun, second in made if begun == first]
    for before, drawn in (([], [begun for begun, _ in made]), ([first], kept)):
        ids = torch.tensor([[*session.prompt, *before]])
        with torch.inference_mode():
            likely = (text_model.model.hf(ids).logits[0, -1] / warmth).softmax(-1)
        shares = [drawn.count(token) / len(drawn) for token in range(len(likely))]
        # Tokens that end the turn share what the others leave.
        others = [token for token in range(len(likely)) if token not in text_model.ends]
        expected, found = likely[others], torch.tensor(shares)[others]
        assert expected.max() > 0.1
        spread = (expected * (1 - expected) / len(drawn)).sqrt()
        assert ((found - expected).abs() <= 4 * spread + 3 / len(drawn)).all()
    assert len(kept) > 300


def test_every_token_is_computed_without_token_reuse(text_model: Loaded) -> None:
    talk = question_for(text_model)
    for temperature in (0.0, 1.0):
        drawn = SamplingParams(12, temperature=temperature)
        expected = stream(text_model, session_of(text_model, talk), (), drawn)
        own = "".join(piece.text for piece in expected)
        for token_reuse in (True, False):
            session = session_of(text_model, talk)
            judge(judging(text_model), session, (), (own,))
            passes = count_passes(session)
            pieces = stream(text_model, session, (), replace(drawn, token_reuse=token_reuse))
            assert [piece.text for piece in pieces] == [piece.text for piece in expected]
            assert (len(passes) == len(pieces)) is not token_reuse


def test_only_the_rows_of_the_last_judge_call_are_kept(text_model: Loaded) -> None:
    session, ask = session_of(text_model, question_for(text_model)), judging(text_model)
    judge(ask, session, (), CANDIDATES)
    root = session.root
    assert root.judged is not None
    assert len(root.judged.rows) == len(root.judged.ids) + 1
    judge(ask, session, CANDIDATES[:1], CANDIDATES[1:])
    assert root.judged is None
