"""Calibration from options to a profile, called from Python."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from dreamr import BadOption, RunFailed, RunOptions
from dreamr.errors import Unsupported
from dreamr.evaluation.calibration import (
    CalibrateOptions,
    Calibration,
    Progress,
    calibrate,
    calibration_total,
)
from dreamr.gate import Bounds, RatioGate
from support.pairs import Pair

TASK = str(Path(__file__).parents[3] / "examples" / "timesheet.py")
OPTIONS = CalibrateOptions(
    task="timesheet", plugin=TASK, problems=20, by="answers", reference="target", risk=0.2
)


def calibrated(options: CalibrateOptions, pair: Pair, seen: list[Progress]) -> Calibration:
    run = RunOptions(final_answer="draft", window=3)
    call = partial(calibrate, options, run, open_model=pair, on_progress=seen.append)
    return anyio.run(call)


def test_one_call_turns_options_into_a_profile() -> None:
    seen: list[Progress] = []
    found = calibrated(OPTIONS, Pair(), seen)
    # Both models always write the same, so each answer is that of the target alone.
    profile = found.require_profile()
    assert profile.gate == RatioGate(0.3, min_mass=0.01)
    assert (profile.bounds, profile.reference, profile.risk) == ("answers", "target", 0.2)
    assert profile.data["tasks"] == ["timesheet"]
    assert profile.data["window"] == 3
    assert profile.options["final_answer"] == "draft"
    assert profile.measured["errors"] == 0
    assert [one.done for one in seen] == list(range(1, calibration_total(OPTIONS) + 1))
    assert {one.total for one in seen} == {calibration_total(OPTIONS)}
    assert (seen[0].last, seen[-1].last) == ("the target alone", "threshold 0.3")


def test_if_no_gate_keeps_the_bound_the_error_says_how_far_the_strictest_is() -> None:
    found = calibrated(replace(OPTIONS, risk=0.01), Pair(), [])
    assert found.profile is None
    assert found.tested.candidates[0].gate == RatioGate(0.99, min_mass=0.01)
    with pytest.raises(RunFailed, match=r"0 errors in 20 problems.*--problems"):
        found.require_profile()


@pytest.mark.parametrize(
    ("options", "error"), [(OPTIONS, None), (replace(OPTIONS, by="steps", reference="labels"), 1)]
)
def test_both_models_are_closed_whatever_ends_the_calibration(
    options: CalibrateOptions, error: int | None
) -> None:
    pair = Pair()
    with (
        pytest.raises(Unsupported, match="checks answers but not steps") if error else nullcontext()
    ):
        calibrated(options, pair, [])
    assert not any(pair.opened[role].alive for role in ("target", "draft"))


@pytest.mark.parametrize("by", ["steps", "answers"])
def test_a_calibration_takes_no_temperature(by: Bounds) -> None:
    pair = Pair()
    options = replace(OPTIONS, by=by, reference="labels")
    with pytest.raises(BadOption, match="calibration is greedy: temperature must be 0, not"):
        anyio.run(partial(calibrate, options, RunOptions(temperature=0.5), open_model=pair))
    assert not pair.opened


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"risk": 0.0}, "--risk must be above 0 and below 1, not 0"),
        ({"confidence": 1.0}, "--confidence must be above 0 and below 1, not 1"),
        ({"gate": "x"}, "--gate must be one of ratio,"),
        ({"by": "words"}, "--by must be one of steps, answers, not 'words'"),
        ({"problems": 0}, "--problems must be at least 1, not 0"),
    ],
)
def test_invalid_options_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(BadOption, match=says):
        CalibrateOptions(**values)  # type: ignore[arg-type]
