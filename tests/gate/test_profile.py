from __future__ import annotations

import json
from dataclasses import replace
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
    assert options.run_config(open_profile(options)).gate == RatioGate(0.83)


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


def test_a_promise_about_answers_holds_at_the_options_it_was_made_with(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    kept = {"method": "fpsr", "final_answer": "draft", "temperature": 0.0}
    given = profile(RatioGate(0.83), model_identities(RunOptions()))
    write_profile(path, replace(given, bounds="answers", reference="target", options=kept))
    assert read_profile(path).reference == "target"
    options = RunOptions(profile=str(path), final_answer="draft", window=3)
    assert options.run_config(open_profile(options)).gate == RatioGate(0.83)
    for change in ({"final_answer": "target"}, {"method": "parse"}, {"temperature": 0.5}):
        with pytest.raises(BadOption, match=f"--{next(iter(change))}".replace("_", "-")):
            replace(options, **change).run_config(open_profile(options))
    # Alone, the target gives what the promise is measured against.
    replace(options, final_answer="target", method="target").run_config(open_profile(options))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 1}, "version 1.*run dreamr calibrate again"),
        ({"bounds": "everything"}, "no profile"),
        ({"reference": "a friend"}, "no profile"),
        ({"gate": {"kind": "magic"}}, "no profile"),
        ({"gate": {"kind": "ratio", "threshold": 7}}, "no profile"),
        ({"risk": "much"}, "no profile"),
        ({"models": None}, "no profile"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    values = {**profile(RatioGate(), {}).to_json(), **change}
    path.write_text(json.dumps(values))
    with pytest.raises(BadOption, match=said) as caught:
        read_profile(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="cannot be read"):
        read_profile(tmp_path / "none.json")
    (tmp_path / "p.json").write_bytes(b"\x80pickle")
    with pytest.raises(BadOption, match="no profile"):
        read_profile(tmp_path / "p.json")


def test_a_profile_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match=r"cannot write .*p\.json: "):
        write_profile(tmp_path / "file" / "p.json", profile(RatioGate(0.8), {}))
