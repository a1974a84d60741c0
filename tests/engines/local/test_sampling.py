"""Draws depend only on seed, position and distribution, and follow the distribution."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.engines import SamplingParams
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.sampling import choose, entropy_of, guess, uniform
from dreamr.errors import Unsupported
from support.local_calls import session_of, stream, whole_from
from support.local_models import question_for

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.0])


def test_temperature_zero_takes_the_most_likely_token() -> None:
    token, logprob = choose(LOGITS, SamplingParams(temperature=0.0, logprobs=True), 3)
    assert token == 1
    assert logprob == pytest.approx(float(LOGITS.log_softmax(0)[1]), abs=1e-6)


@pytest.mark.parametrize("temperature", [1e-3, 1e-20, 1e-40, 5e-324])
@pytest.mark.parametrize("more", [{}, {"top_p": 0.9}, {"top_k": 2}, {"min_p": 0.1}])
def test_a_tiny_temperature_is_greedy(temperature: float, more: dict[str, Any]) -> None:
    sampling = SamplingParams(temperature=temperature, seed=5, **more)
    many = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    for logits in (LOGITS, many, torch.cat([many, torch.tensor([-torch.inf])])):
        expected = int(logits.argmax())
        assert {choose(logits, sampling, position)[0] for position in range(20)} == {expected}


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


def shares(sampling: SamplingParams, ids: list[int] | None = None) -> list[float]:
    counts = torch.zeros(4)
    for position in range(2000):
        text = [0] * position if ids is None else (ids * 2000)[:position]
        counts[choose(LOGITS, sampling, position, text)[0]] += 1
    return [float(share) for share in counts / 2000]


def test_top_k_and_min_p_drop_unlikely_tokens() -> None:
    assert shares(SamplingParams(temperature=1.0, top_k=2))[::2] == [0.0, 0.0]
    # The likeliest token has e times the probability of the next one.
    assert shares(SamplingParams(temperature=1.0, min_p=0.5)) == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("penalty", "ids", "position", "token"),
    [
        ({"presence_penalty": 1.5}, [1], 1, 3),
        ({"presence_penalty": 1.5}, [1], 0, 1),  # in the prompt, not in the text
        ({"presence_penalty": 0.9}, [1, 1, 1], 3, 1),
        ({"frequency_penalty": 0.9}, [1, 1, 1], 3, 3),
        ({"repetition_penalty": 3.0}, [1], 0, 3),  # in the prompt
        ({"logit_bias": ((1, -100.0),)}, [], 0, 3),
        ({"logit_bias": ((2, 100.0),)}, [], 0, 2),
    ],
)
def test_penalties_and_biases_change_the_greedy_choice(
    penalty: dict[str, Any], ids: list[int], position: int, token: int
) -> None:
    assert choose(LOGITS, SamplingParams(**penalty), position, ids)[0] == token
    assert LOGITS.tolist() == [0.5, 2.0, -1.0, 1.0]


def test_log_probabilities_are_those_before_penalties() -> None:
    sampling = SamplingParams(logit_bias=((2, 100.0),), logprobs=True)
    token, logprob = choose(LOGITS, sampling, 0)
    assert token == 2
    assert logprob == pytest.approx(float(LOGITS.log_softmax(0)[2]))


def test_a_biased_token_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(Unsupported, match="token 9 of logit_bias is not among"):
        choose(LOGITS, SamplingParams(logit_bias=((9, 1.0),)), 0)


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
