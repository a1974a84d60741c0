from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from dreamr import BadOption, RunOptions
from dreamr._option_specs import option_specs
from dreamr.conversation import MediaOptions
from dreamr.engines import ModelSource, SamplingParams
from dreamr.engines.http import HttpOptions
from dreamr.gate import AgreementGate, CascadeGate, RatioGate, SameGate, ScoreGate
from dreamr.runner import Deadline, RunConfig
from dreamr.schedules import METHODS, ScheduleConfig

URL = "http://gpu1:8000/v1"


def test_every_option_has_a_spec_and_the_methods_are_those_that_exist() -> None:
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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": "3"}, "--window must be a whole number, not '3'"),
        ({"window": 2.5}, "--window must be a whole number, not 2.5"),
        ({"window": None}, "--window must be a whole number, not None"),
        ({"window": True}, "--window must be a whole number, not True"),
        ({"window": [3]}, "--window must be a whole number, not a list"),
        ({"threshold": "0.5"}, "--threshold must be a number, not '0.5'"),
        ({"threshold": 1j}, "--threshold must be a number, not a complex"),
        ({"deterministic": "no"}, "--deterministic must be True or False, not 'no'"),
        ({"method": 3}, "--method must be one of fpsr, sequential, target"),
        ({"method": ["fpsr"]}, "not a list"),
        ({"target": 3}, "--target must be text, not 3"),
        ({"profile": b"a"}, "--profile must be text, not a bytes"),
        ({"seed": "x" * 500}, "--seed must be a whole number"),
        ({"treshold": 0.5}, "RunOptions has no option treshold; did you mean threshold?"),
        ({"zzz": 1}, "RunOptions has no option zzz; the options are method, window"),
    ],
)
def test_a_value_of_another_type_is_one_line_that_says_what_is_taken(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadOption) as caught:
        RunOptions(**wrong)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_options_are_given_by_name() -> None:
    with pytest.raises(BadOption, match=r"takes its options by name, as in method=\.\.\."):
        RunOptions("fpsr")  # type: ignore[misc]
    with pytest.raises(BadOption, match="did you mean window"):
        dataclasses.replace(RunOptions(), windows=3)  # type: ignore[call-arg]


def test_values_of_other_libraries_become_plain_ones() -> None:
    given: Any = {
        "window": np.int64(3),
        "threshold": np.float32(0.5),
        "deterministic": np.bool_(True),
        "target": Path("folder"),
    }
    options = RunOptions(**given)
    plain = RunOptions(window=3, threshold=0.5, deterministic=True, target="folder")
    assert options == plain
    assert hash(options) == hash(plain)
    kinds = {type(value) for value in options.to_json().values()}
    assert kinds <= {str, int, float, bool, list, type(None)}


def test_options_come_back_from_json() -> None:
    options = RunOptions(window=3, target="folder", draft_confidence=0.5, gate="cascade")
    assert RunOptions(**json.loads(json.dumps(options.to_json()))) == options


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


def test_resamples_are_an_option_of_the_schedule() -> None:
    assert RunOptions(resamples=2).run_config().options.resamples == 2
    with pytest.raises(BadOption, match="--resamples"):
        RunOptions(resamples=2, deterministic=True)


def test_an_option_has_one_default_wherever_it_stands() -> None:
    run = RunOptions()
    others: dict[object, set[str]] = {  # names that mean something else there
        ScheduleConfig(): {"resamples"},  # None in a run: by measured costs
        SamplingParams(): {"temperature", "token_reuse"},  # None: the model's; a switch
        RunConfig(): {"gate"},  # the gate itself
        ModelSource(role="target"): set(),
        HttpOptions(URL): set(),
        MediaOptions(): {"max_pixels"},  # of reading
        Deadline(1.0): set(),
        RatioGate(): set(),
    }
    for part, different in others.items():
        declared: Any = part
        shared = {one.name for one in dataclasses.fields(declared) if hasattr(run, one.name)}
        assert shared > different, f"{part} shares no option"
        for name in shared - different:
            assert getattr(part, name) == getattr(run, name), (type(part), name)


def test_only_a_cascade_without_a_profile_can_skip_verification() -> None:
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
        top_k=20,
        min_p=0.1,
        presence_penalty=1.5,
        frequency_penalty=0.5,
        repetition_penalty=1.1,
        logit_bias={5: -100, 7: 2.5},  # type: ignore[arg-type]
        stop=["END"],  # type: ignore[arg-type]
        thinking_budget=50,
        seed=5,
    )
    settings = options.run_config()
    assert settings.method == "sequential"
    assert dataclasses.asdict(settings.options) == {
        "window": 3,
        "fallback": "idle",
        "deterministic": True,
        "final_answer": "draft",
        "judge_batch": "auto",
        "prefill": True,
        "resamples": 0,
        "independent": False,
        "max_steps": 9,
        "max_tokens": 77,
        "text": None,
        "hurries": False,
        "committed": (),
    }
    assert dataclasses.asdict(settings.gate)["threshold"] == 0.5
    sampling = settings.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.8, 0.9, 5)
    assert {name: getattr(sampling, name) for name in sampling.used} == {
        "top_k": 20,
        "min_p": 0.1,
        "presence_penalty": 1.5,
        "frequency_penalty": 0.5,
        "repetition_penalty": 1.1,
        "logit_bias": ((5, -100.0), (7, 2.5)),
    }
    assert settings.stop == ("END",)
    assert settings.thinking_budget == 50
    assert settings.draft_sampling is None


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


@pytest.mark.parametrize(("budget", "most"), [(4096, 4096), (8000, 4096), (10, 10)])
def test_a_thinking_budget_leaves_tokens_for_the_answer(budget: int, most: int) -> None:
    with pytest.raises(BadOption, match="--thinking-budget must be smaller than --max-tokens"):
        RunOptions(thinking_budget=budget, max_tokens=most)
    assert RunOptions(thinking_budget=budget, max_tokens=budget + 1).thinking_budget == budget


@pytest.mark.parametrize(
    ("given", "delimiter"),
    [
        ("\\n\\n", "\n\n"),
        ("\n", "\n"),
        ("\\t;\\r", "\t;\r"),
        ("\\\\n", "\\n"),
        ("###", "###"),
        (None, None),
    ],
)
def test_a_delimiter_may_have_escapes(given: str | None, delimiter: str | None) -> None:
    source = RunOptions(delimiter=given, min_step_tokens=5).source("target")
    assert (source.delimiter, source.min_step_tokens) == (delimiter, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [("", "--delimiter must not be empty"), ("\\q", "\\q is not known"), ("a\\", "is not known")],
)
def test_a_delimiter_that_cannot_be_read_is_named(given: str, message: str) -> None:
    with pytest.raises(BadOption, match=re.escape(message)):
        RunOptions(delimiter=given)


def test_a_deadline_reaches_the_runner() -> None:
    config = RunOptions(deadline=2.5, on_deadline="error").run_config()
    assert config.deadline == Deadline(2.5, "error")
    assert RunOptions().run_config().deadline is None


def test_a_deadline_that_may_change_the_text_contradicts_deterministic_runs() -> None:
    with pytest.raises(BadOption, match="a deadline makes the text depend on timing"):
        RunOptions(deadline=2.5, deterministic=True)
    RunOptions(deadline=2.5, deterministic=True, on_deadline="error")
