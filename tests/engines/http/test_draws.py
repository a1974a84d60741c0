"""Fields of requests that say how tokens are chosen."""

from __future__ import annotations

from dreamr.engines import NEUTRAL, SamplingParams
from dreamr.engines.http.draws import drawn, undrawn
from dreamr.engines.http.servers import LLAMA_CPP, OLLAMA, OTHER, SGLANG, VLLM

ALL = SamplingParams(
    temperature=0.7, top_p=0.8, top_k=20, min_p=0.1, presence_penalty=1.5, frequency_penalty=0.5,
    repetition_penalty=1.1, logit_bias=((7, -100.0),), seed=3,
)  # fmt: skip
DRAWN = {"temperature": 0.7, "top_p": 0.8, "seed": 3}
PENALTIES = {"presence_penalty": 1.5, "frequency_penalty": 0.5}


def test_all_parameters_reach_servers_that_take_them_under_their_names() -> None:
    common = {**DRAWN, **PENALTIES, "top_k": 20, "min_p": 0.1, "logit_bias": {"7": -100.0}}
    assert drawn(ALL, VLLM) == drawn(ALL, SGLANG) == {**common, "repetition_penalty": 1.1}
    # llama.cpp penalizes the last 64 tokens by default.
    assert drawn(ALL, LLAMA_CPP) == {**common, "repeat_penalty": 1.1, "repeat_last_n": -1}


def test_other_servers_get_the_fields_that_they_take() -> None:
    assert drawn(ALL, OTHER) == {**DRAWN, **PENALTIES, "logit_bias": {"7": -100.0}}
    assert drawn(ALL, OLLAMA) == {**DRAWN, **PENALTIES}
    assert drawn(SamplingParams(), OTHER) == {"temperature": 0.0, "top_p": 1.0, "seed": 0}


def test_defaults_of_a_server_are_switched_off() -> None:
    """Servers such as vLLM apply the model's generation_config.json to fields that are missing."""
    greedy = drawn(SamplingParams(), VLLM)
    assert greedy["repetition_penalty"] == 1.0
    assert greedy["presence_penalty"] == greedy["top_k"] == 0
    assert drawn(SamplingParams(), SGLANG)["top_k"] == -1


def test_judge_requests_carry_no_draws_penalties_or_biases() -> None:
    for server in (VLLM, SGLANG, LLAMA_CPP, OLLAMA, OTHER):
        fields = undrawn(server)
        assert fields.pop("temperature") == 0.0
        assert "seed" not in fields
        assert all(value in (0, 1, -1) for value in fields.values())


def test_each_server_names_only_known_parameters() -> None:
    for server in (VLLM, SGLANG, LLAMA_CPP, OLLAMA, OTHER):
        assert server.sampling.keys() <= NEUTRAL.keys()
