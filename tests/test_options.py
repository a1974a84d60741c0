from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import pytest

from dreamr import BadOption, RunOptions
from dreamr._options import knobs
from dreamr.schedules import METHODS


def test_every_option_has_a_knob_and_the_methods_are_those_that_exist() -> None:
    assert list(knobs()) == [field.name for field in dataclasses.fields(RunOptions)]
    assert set(get_args(knobs()["method"][0])) == set(METHODS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "magic"}, "fpsr, sequential, target"),
        ({"window": 0}, "at least 1"),
        ({"alpha": 1.5}, "at most 1"),
        ({"alpha": math.nan}, "alpha"),
        ({"temperature": math.inf}, "temperature"),
        ({"max_tokens": 0}, "max-tokens"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        RunOptions(**wrong)


def test_every_option_reaches_the_runner() -> None:
    options = RunOptions(
        method="sequential",
        window=3,
        alpha=0.5,
        hedge="idle",
        answer="verified",
        reproducible=True,
        max_tokens=77,
        max_steps=9,
        temperature=0.8,
        top_p=0.9,
        seed=5,
    )
    settings = options.settings()
    assert settings.method == "sequential"
    assert dataclasses.asdict(settings.options) == {
        "window": 3,
        "hedge": "idle",
        "reproducible": True,
        "answer": "verified",
        "max_steps": 9,
        "max_tokens": 77,
    }
    assert dataclasses.asdict(settings.gate)["threshold"] == 0.5
    sampling = settings.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.8, 0.9, 5)


def test_the_target_alone_needs_no_draft() -> None:
    assert [RunOptions(method=m).needs_draft for m in ("fpsr", "sequential", "target")] == [  # type: ignore[arg-type]
        True,
        True,
        False,
    ]
