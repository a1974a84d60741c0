from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from dreamr import Reasoner, RunOptions
from dreamr._option_specs import BadOption
from dreamr._profiles import model_identities, open_profile
from dreamr._provenance import weights_hash
from dreamr.errors import Unwritable
from dreamr.gate import (
    SIGNALS,
    AdaptiveGate,
    CascadeGate,
    Gate,
    LearnedGate,
    LikelihoodGate,
    Profile,
    RatioGate,
    read_profile,
    write_profile,
)
from support.pairs import Pair

PROFILES = sorted((Path(__file__).parents[2] / "benchmarks" / "profiles").glob("*.json"))
GATES: list[Gate] = [
    RatioGate(0.8),
    AdaptiveGate(0.6),
    CascadeGate(0.7, target_confidence=0.2),
    LikelihoodGate(0.95),
    LearnedGate((0.1,) * len(SIGNALS), 1.5, 0.97),
]


def profile(gate: Gate, models: dict[str, str]) -> Profile:
    return Profile(gate, 0.003, 0.95, models, {"tasks": ["story"]}, {"errors": 1})


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: type(gate).__name__)
def test_a_profile_comes_back_as_it_was_written(gate: Gate, tmp_path: Path) -> None:
    one = profile(gate, {"target": "a", "draft": "b"})
    write_profile(tmp_path / "new" / "p.json", one)
    assert read_profile(tmp_path / "new" / "p.json") == one


def test_the_gate_of_a_profile_decides_in_a_run(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    write_profile(path, profile(RatioGate(0.83), model_identities(RunOptions())))
    options = RunOptions(profile=str(path), gate="cascade", threshold=0.1)
    config = options.run_config(open_profile(options))
    assert config.gate == RatioGate(0.83)
    assert config.calibrated


def test_a_reasoner_reads_the_weights_once_and_each_run_has_the_gate_of_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    write_profile(path, profile(RatioGate(0.83), model_identities(RunOptions())))
    read: list[Path] = []

    def spy(folder: Path) -> str | None:
        read.append(folder)
        return weights_hash(folder)

    monkeypatch.setattr("dreamr._provenance.weights_hash", spy)
    with Reasoner(RunOptions(profile=str(path)), open_model=Pair()) as reasoner:
        for seed in range(3):
            options = RunOptions(profile=str(path), temperature=1.0, seed=seed)
            result = reasoner.ask("How much?", options=options)
            assert {s.verdict.threshold for s in result.steps if s.verdict} == {0.83}
        other = RunOptions(profile=str(tmp_path / "other.json"))
        with pytest.raises(BadOption, match="not the one that the Reasoner was opened with"):
            reasoner.ask("How much?", options=other)
    assert len(read) == 2


def test_a_profile_of_other_models_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    write_profile(path, profile(RatioGate(0.83), model_identities(RunOptions())))
    options = RunOptions(profile=str(path), draft="embedded-before-sapo")
    with pytest.raises(BadOption, match="another draft"):
        open_profile(options)


@pytest.fixture
def by_answers(tmp_path: Path) -> RunOptions:
    """Options of a run with a profile by answers."""
    path = tmp_path / "p.json"
    kept = {"method": "fpsr", "final_answer": "draft", "temperature": 0.0}
    given = profile(RatioGate(0.83), model_identities(RunOptions()))
    write_profile(path, replace(given, bounds="answers", reference="target", options=kept))
    assert read_profile(path).reference == "target"
    return RunOptions(profile=str(path), final_answer="draft", window=3)


def test_a_bound_on_answers_holds_for_its_options(by_answers: RunOptions) -> None:
    assert by_answers.run_config(open_profile(by_answers)).gate == RatioGate(0.83)
    # The bound is relative to the target alone, so it holds for that method too.
    alone = replace(by_answers, final_answer="target", method="target")
    alone.run_config(open_profile(alone))


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (
            {"final_answer": "target"},
            "pass --final-answer draft, or run dreamr calibrate with --final-answer target",
        ),
        # dreamr calibrate does not take these two.
        ({"method": "parse"}, "pass --method fpsr, or leave out --profile"),
        ({"temperature": 0.5}, "pass --temperature 0.0, or leave out --profile"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_that_a_bound_on_answers_does_not_hold_for_is_refused_with_advice(
    change: dict[str, Any], advice: str, by_answers: RunOptions
) -> None:
    options = replace(by_answers, **change)
    with pytest.raises(BadOption, match=f": {advice}$"):
        options.run_config(open_profile(options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "version is 1, but this dreamr reads version 2"),
        ({"version": []}, "version is a list, but this dreamr reads version 2"),
        ({"bounds": "everything"}, 'bounds must be one of steps, answers, not "everything"'),
        ({"bounds": {}}, "bounds must be one of steps, answers, not an object"),
        ({"reference": "x"}, 'reference must be one of labels, target, not "x"'),
        ({"risk": "much"}, 'risk must be a number between 0 and 1, not "much"'),
        ({"risk": True}, "risk must be a number between 0 and 1, not true"),
        ({"risk": 1}, "risk must be a number between 0 and 1, not 1"),
        ({"risk": 10**400}, r"risk must be a number between 0 and 1, not 1000*\.\.\."),
        ({"confidence": nan}, "confidence must be a number between 0 and 1, not NaN"),
        ({"confidence": -inf}, "confidence must be a number between 0 and 1, not -Infinity"),
        ({"models": None}, "models must be an object, not null"),
        ({"models": {"draft": 3}}, "models.draft must be a string, not 3"),
        ({"data": ["a"]}, "data must be an object, not a list"),
        ({"measured": {"errors": "no"}}, 'measured.errors must be a number, not "no"'),
        ({"measured": {"upper": nan}}, "measured.upper must be a number, not NaN"),
        ({"options": 0}, "options must be an object, not 0"),
        ({"gate": "ratio"}, 'gate must be an object, not "ratio"'),
        ({"gate": {}}, "gate.kind is missing"),
        ({"gate": {"kind": "magic"}}, r'gate.kind must be one of ratio, .*, not "magic"'),
        ({"gate": {"kind": ["ratio"]}}, "gate.kind must be one of .*, not a list"),
        ({"gate": {"kind": "ratio", "speed": 1}}, "gate.speed is not a setting of the gate ratio"),
        (
            {"gate": {"kind": "ratio", "threshold": 7}},
            "gate.threshold must be between 0 and 1, not 7",
        ),
        (
            {"gate": {"kind": "ratio", "threshold": nan}},
            "gate.threshold must be a number, not NaN",
        ),
        (
            {"gate": {"kind": "ratio", "threshold": None}},
            "gate.threshold must be a number, not null",
        ),
        (
            {"gate": {"kind": "cascade", "draft_confidence": "a"}},
            'gate.draft_confidence must be a number, not "a"',
        ),
        ({"gate": {"kind": "learned", "bias": 0}}, "gate.weights is missing"),
        (
            {"gate": {"kind": "learned", "weights": 1, "bias": 0}},
            "gate.weights must be a list of numbers, not 1",
        ),
        (
            {"gate": {"kind": "learned", "weights": [1, "a"], "bias": 0}},
            r'gate.weights\[1\] must be a number, not "a"',
        ),
        (
            {"gate": {"kind": "learned", "weights": [1], "bias": 0}},
            f"gate.weights must be {len(SIGNALS)} numbers, not 1",
        ),
    ],
)
def test_a_broken_profile_is_one_line_with_file_and_key(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**profile(RatioGate(), {}).to_json(), **change}))
    with pytest.raises(BadOption, match=f"{message}; run dreamr calibrate again$") as caught:
        read_profile(path)
    assert str(caught.value).startswith(f"profile {path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", profile(RatioGate(), {}).to_json())
def test_a_missing_key_of_a_profile_is_named(key: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    values = profile(RatioGate(), {}).to_json()
    del values[key]
    path.write_text(json.dumps(values))
    with pytest.raises(BadOption, match=rf"^profile .*p\.json: {key} is missing; "):
        read_profile(path)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_profiles_of_the_benchmarks_can_be_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert json.loads(json.dumps(read_profile(path).to_json())) == json.loads(text)


def test_a_profile_with_a_byte_order_mark_can_be_read(tmp_path: Path) -> None:
    one = profile(RatioGate(), {})
    (tmp_path / "p.json").write_text(json.dumps(one.to_json()), encoding="utf-8-sig")
    assert read_profile(tmp_path / "p.json") == one


def test_a_profile_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match=r"cannot write .*p\.json: "):
        write_profile(tmp_path / "file" / "p.json", profile(RatioGate(0.8), {}))
