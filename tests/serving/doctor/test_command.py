from __future__ import annotations

import json
import re
from typing import Any

from dreamr.cli import main
from dreamr.engines import Model, ModelSource, ScriptedEngine
from dreamr.errors import ModelNotFound
from dreamr.gate import Evidence

SCRIPT = "Tea costs 12.\n\nMilk costs 16.\n\nAnswer: 28"


async def opened(source: ModelSource) -> Model:
    if source.name == "nowhere":
        raise ModelNotFound("there is no such model")
    return Model(
        ScriptedEngine(
            script=SCRIPT,
            opinion=lambda c, s: Evidence(0.9, 0.1) if s in SCRIPT else Evidence(0.1, 0.9),
        )
    )


def test_findings_are_shown_model_by_model(capsys: Any) -> None:
    assert main(["doctor"], open_model=opened) == 0
    out = capsys.readouterr().out
    assert out.startswith("target scripted\n")
    assert re.search("ok +continuation", out)
    assert "together" in out


def test_a_missing_model_is_a_finding_and_exits_with_1(capsys: Any) -> None:
    assert main(["doctor", "--draft", "nowhere", "--json"], open_model=opened) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1] == {
        "of": "draft",
        "about": "reached",
        "state": "wrong",
        "what": "there is no such model",
        "fix": None,
        "values": {},
    }
    assert {line["of"] for line in lines} == {"target", "draft"}


def test_options_of_other_commands_are_refused(capsys: Any) -> None:
    assert main(["doctor", "--window", "3"], open_model=opened) == 2
    assert "--window" in capsys.readouterr().err
