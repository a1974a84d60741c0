"""The committed results of benches."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def test_every_profile_that_a_result_names_exists() -> None:
    configs = [yaml.safe_load(path.read_text("utf-8")) for path in RESULTS.glob("*/config.yaml")]
    results = [json.loads(path.read_text("utf-8")) for path in RESULTS.glob("*/results.json")]
    parts = [one["options"] for one in configs] + [one["config"]["options"] for one in results]
    named = {part.get("profile") for part in parts} - {None}
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
