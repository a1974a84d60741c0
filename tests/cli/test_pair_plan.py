"""`dreamr pair plan`: placements on machines and by measurements, and machines for a load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamr.cli import main

pytestmark = pytest.mark.usefixtures("folder")
PAIR = ("--target", "Qwen/Qwen3-VL-8B-Instruct", "--draft", "Qwen/Qwen3-VL-2B-Instruct")


def plan(*arguments: str) -> int:
    return main(["pair", "plan", *arguments])


def test_machines_are_ranked(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(*PAIR, "--machine", "1xH100", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["placements"]
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    assert any("draft on CPU" in row["placement"] for row in rows)


def test_a_load_is_answered_with_machines_and_their_price(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "prices.toml").write_text(
        'currency = "EUR"\n[machines.one]\ngpus = "1xH100"\ncpu = "none"\nprice = 2.5\n'
    )
    load = ("--prices", "prices.toml", "--load", "30", "--latency", "30")
    assert plan(*PAIR, *load) == 0
    shown = capsys.readouterr().out
    assert "EUR" in shown
    assert "an hour" in shown
    assert "1 x one" in shown
    assert "target alone" in shown


def test_measured_placements_need_no_models(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cost = {"draft_token_ms": 3.0, "target_token_ms": 10.0, "judge_ms": 20.0}
    finding = {"of": "together", "about": "cost", "values": cost}
    (folder / "a.jsonl").write_text(json.dumps(finding))
    (folder / "devices.toml").write_text('[[placement]]\nname = "mine"\nmeasured = "a.jsonl"\n')
    assert plan("--devices", "devices.toml") == 0
    assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the models with --target and --draft"),
        (PAIR, "name machines with --machine or --prices"),
        ((*PAIR, "--machine", "huge"), "unknown machine 'huge'"),
        ((*PAIR, "--machine", "1xT4"), "need about"),
        (
            (*PAIR, "--machine", "1xH100", "--load", "1", "--latency", "0.01"),
            "no placement answers",
        ),
        (("--devices", "missing.toml"), "missing.toml"),
    ],
)
def test_a_plan_that_cannot_be_made_is_an_error_of_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(*arguments) != 0
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
