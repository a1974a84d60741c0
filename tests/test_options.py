from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import pytest

from dreamr import BadOption, RunOptions
from dreamr._option_specs import option_specs
from dreamr.engines import SamplingParams
from dreamr.gate import AgreementGate, CascadeGate, RatioGate, SameGate, ScoreGate
from dreamr.schedules import METHODS, ScheduleConfig


def test_every_option_has_a_knob_and_the_methods_are_those_that_exist() -> None:
    assert list(option_specs(RunOptions)) == [
        field.name for field in dataclasses.fields(RunOptions)
    ]
    assert set(get_args(option_specs(RunOptions)["method"][0])) == set(METHODS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "magic"}, "fpsr, sequential, target"),
        ({"window": 0}, "at least 1"),
        ({"threshold": 1.5}, "at most 1"),
        ({"threshold": math.nan}, "threshold"),
        ({"temperature": math.inf}, "temperature"),
        ({"max_tokens": 0}, "max-tokens"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        RunOptions(**wrong)


def test_what_the_target_takes_of_a_rejected_step_can_be_chosen() -> None:
    found = {
        token_reuse: RunOptions(token_reuse=token_reuse).run_config().sampling  # type: ignore[arg-type]
        for token_reuse in ("off", "verified", "ngram")
    }
    assert [(draw.token_reuse, draw.lookup) for draw in found.values()] == [
        (False, 0),
        (True, 0),
        (True, 10),
    ]


def test_a_race_is_part_of_what_a_schedule_is_told() -> None:
    assert RunOptions(resamples=2).run_config().options.resamples == 2
    with pytest.raises(BadOption, match="--resamples"):
        RunOptions(resamples=2, deterministic=True)


def test_an_option_has_one_default_wherever_it_stands() -> None:
    run = RunOptions()
    for part in (ScheduleConfig(), SamplingParams()):
        for field in dataclasses.fields(part):
            if hasattr(run, field.name) and field.name != "token_reuse":  # there a switch
                assert getattr(part, field.name) == getattr(run, field.name), field.name
    assert RatioGate().threshold == run.threshold


def test_only_a_cascade_of_its_own_can_trust_the_draft() -> None:
    gate = RunOptions(gate="cascade", draft_confidence=0.9).run_config().gate
    assert gate == CascadeGate(0.7, draft_confidence=0.9)
    with pytest.raises(BadOption, match="--gate cascade"):
        RunOptions(draft_confidence=0.9)
    with pytest.raises(BadOption, match="--profile"):
        RunOptions(gate="cascade", draft_confidence=0.9, profile="some.json")


def test_every_option_reaches_the_runner() -> None:
    options = RunOptions(
        method="sequential",
        window=3,
        threshold=0.5,
        fallback="idle",
        final_answer="draft",
        deterministic=True,
        max_tokens=77,
        max_steps=9,
        temperature=0.8,
        top_p=0.9,
        seed=5,
    )
    settings = options.run_config()
    assert settings.method == "sequential"
    assert dataclasses.asdict(settings.options) == {
        "window": 3,
        "fallback": "idle",
        "deterministic": True,
        "final_answer": "draft",
        "resamples": 0,
        "max_steps": 9,
        "max_tokens": 77,
    }
    assert dataclasses.asdict(settings.gate)["threshold"] == 0.5
    sampling = settings.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.8, 0.9, 5)


def test_only_the_models_that_a_method_uses_are_needed() -> None:
    assert RunOptions(method="fpsr").roles == ("draft", "target")
    assert RunOptions(method="prompt-lookup").roles == ("target",)
    assert RunOptions(method="draft").roles == ("draft",)


def test_each_method_has_its_own_gate() -> None:
    gates = {name: RunOptions(method=name).run_config().gate for name in METHODS}  # type: ignore[arg-type]
    assert gates["specreason"] == ScoreGate(7)
    assert RunOptions(method="specreason", score=9).run_config().gate == ScoreGate(9)
    assert gates["lookahead"] == SameGate()
    assert gates["token-sd"] == AgreementGate()
    assert gates["fpsr"] == gates["sequential"] == gates["parse"] == RatioGate(0.7)


def test_speculation_by_tokens_is_greedy() -> None:
    with pytest.raises(BadOption, match="token-sd is greedy"):
        RunOptions(method="token-sd", temperature=0.5)
