"""Draws depend only on seed, position and distribution, and follow the distribution."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.engines import SamplingParams
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.sampling import choose, entropy_of, guess, uniform
from support.local_calls import session_of, stream, whole_from
from support.local_models import question_for

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.0])


def test_temperature_zero_takes_the_most_likely_token() -> None:
    token, logprob = choose(LOGITS, SamplingParams(temperature=0.0, logprobs=True), 3)
    assert token == 1
    assert logprob == pytest.approx(float(LOGITS.log_softmax(0)[1]), abs=1e-6)


def test_draws_follow_the_distribution() -> None:
    sampling = SamplingParams(temperature=0.7, seed=5)
    counts = torch.zeros(4)
    for position in range(4000):
        counts[choose(LOGITS, sampling, position)[0]] += 1
    expected = (LOGITS / 0.7).softmax(0)
    assert (counts / 4000 - expected).abs().max() < 0.025


def test_top_p_drops_unlikely_tokens_and_keeps_the_ratios_of_the_rest() -> None:
    sampling = SamplingParams(temperature=1.0, top_p=0.8, seed=5)
    counts = torch.zeros(4)
    for position in range(4000):
        counts[choose(LOGITS, sampling, position)[0]] += 1
    shares = LOGITS.softmax(0)
    nucleus = shares[[1, 3]] / shares[[1, 3]].sum()
    assert counts[0] == counts[2] == 0
    assert abs(counts[1] / 4000 - nucleus[0]) < 0.025


def test_tiny_top_p_is_greedy() -> None:
    sampling = SamplingParams(temperature=5.0, top_p=1e-9)
    assert {choose(LOGITS, sampling, position)[0] for position in range(50)} == {1}


def test_draws_reach_the_tail_of_large_vocabularies() -> None:
    """The tail lies beyond the tokens that are sorted first."""
    flat = torch.zeros(5000)
    drawn = {choose(flat, SamplingParams(temperature=1.0), position)[0] for position in range(300)}
    assert len(drawn) > 250
    narrow = {
        choose(flat, SamplingParams(temperature=1.0, top_p=0.5), position)[0]
        for position in range(300)
    }
    assert len(narrow) > 250


@settings(deadline=None)
@given(st.integers(-(2**70), 2**70), st.integers(0, 2**40))
def test_noise_depends_on_seed_and_position(seed: int, position: int) -> None:
    noise = uniform(seed, position)
    assert 0 <= noise < 1
    assert noise == uniform(seed, position)
    assert noise != uniform(seed, position + 1)
    assert noise != uniform(seed + 1, position)


def test_a_reopened_stream_draws_the_same_tokens(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    sampling = SamplingParams(40, temperature=1.3, top_p=0.95, seed=11)
    pieces = stream(text_model, session, sampling=sampling)
    cut = whole_from(session, pieces, 15)
    step = "".join(piece.text for piece in pieces[:cut])
    again = stream(text_model, session, (step,), sampling)
    assert [piece.text for piece in again][: 40 - cut] == [p.text for p in pieces[cut:]]


def test_different_seeds_give_different_texts(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    texts = {
        "".join(
            p.text for p in stream(text_model, session, sampling=SamplingParams(12, 1.0, 1.0, seed))
        )
        for seed in range(4)
    }
    assert len(texts) == 4


@pytest.mark.parametrize(
    ("ids", "guessed"),
    [
        ([1, 2, 3, 9, 8, 1, 2, 3], [9, 8, 1]),  # the longest n-gram
        ([1, 2, 7, 1, 2, 5, 1, 2], [5, 1, 2]),  # the latest occurrence
        ([4, 4, 4], [4]),  # what is left up to the end
        ([3, 7, 3, 5, 3], []),  # one token is not looked up
        ([1, 2, 3], []),
        ([1], []),
    ],
)
def test_prompt_lookup_returns_what_followed_the_latest_match(
    ids: list[int], guessed: list[int]
) -> None:
    assert guess(ids, 3) == guessed


def test_the_entropy_is_that_of_the_whole_distribution() -> None:
    assert entropy_of(torch.zeros(8)) == pytest.approx(math.log(8))
    certain = torch.full((8,), -torch.inf)
    certain[3] = 0.0
    assert entropy_of(certain) == 0.0
