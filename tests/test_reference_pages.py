"""The reference pages name every field, event and metric of the code."""

from __future__ import annotations

import re
import runpy
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from dreamr import trace
from dreamr.engines.local.options import Hints
from dreamr.evaluation.bench import Sample
from dreamr.evaluation.bench.sample import Span
from dreamr.evaluation.calibration.families import KINDS
from dreamr.evaluation.report import Figures
from dreamr.gate import Evidence, Profile, Verdict
from dreamr.gate.verdict import ScoreKind
from dreamr.serving.gateway.apis.chat import request, turns
from dreamr.steps import Ending, Step
from dreamr.training import Record

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
HTTP, FILES, METRICS = (
    (REFERENCE / f"{name}.md").read_text(encoding="utf-8") for name in ("http", "files", "metrics")
)


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", page, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def named(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


EVENTS = [
    kind for kind in trace.Event.__subclasses__() if kind.__module__.startswith("dreamr.trace")
]


def test_the_page_about_metrics_is_current() -> None:
    script = REFERENCE.parent / "generate" / "metrics.py"
    generate: Any = runpy.run_path(str(script))["metrics_page"]
    assert generate() == METRICS, "run scripts/docs"


@pytest.fixture
def card_script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(REFERENCE.parent / "generate")
    return runpy.run_path(str(REFERENCE.parent / "generate" / "card.py"))


def test_the_tables_of_the_model_card_are_current(card_script: dict[str, Any]) -> None:
    committed = card_script["CARD"].read_text(encoding="utf-8")
    assert card_script["card"](committed) == committed, "run scripts/docs"


def test_a_table_that_the_model_card_lacks_is_named(card_script: dict[str, Any]) -> None:
    text = card_script["CARD"].read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="blind"):
        card_script["card"](text.replace("<!-- table: blind -->", ""))


def test_the_image_of_the_schedule_is_current() -> None:
    drawing = runpy.run_path(str(REFERENCE.parent / "generate" / "draw_fpsr.py"))
    committed = drawing["OUT"].read_text(encoding="utf-8")
    assert drawing["image"]() == committed, "run scripts/docs"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_event_of_a_trace_is_described_with_its_fields(event: type[Any]) -> None:
    (row,) = re.findall(rf"^\| `{event.__name__}` \|.*$", section(FILES, "Traces"), re.MULTILINE)
    assert {field.name for field in fields(event)} - {"time"} <= named(row)


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Step", Step),
        ("Verdict", Verdict),
        ("Evidence", Evidence),
        ("Profiles", Profile),
        ("Samples", Sample),
        ("Samples", Span),
        ("Figures", Figures),
        ("Model hints", Hints),
    ],
)
def test_every_field_of_a_file_is_described(title: str, kind: type[Any]) -> None:
    assert {field.name for field in fields(kind)} <= named(section(FILES, title))


def test_every_kind_of_gate_that_a_profile_may_have_is_described() -> None:
    # A profile of "draft-confidence" has the kind "cascade".
    assert set(KINDS) - {"draft-confidence"} <= named(section(FILES, "Profiles"))


def test_every_field_of_a_result_and_of_its_usage_is_described() -> None:
    of_result = {field.name for field in fields(trace.Result)} - {"events"}
    of_usage = {field.name for field in fields(trace.ModelUsage)}
    assert of_result | of_usage <= named(section(FILES, "Result"))


def test_every_field_of_a_record_is_described() -> None:
    fields_of_record = {field.name for field in fields(Record)} - {"conversation"}
    assert fields_of_record | {"version", "turns"} <= named(section(FILES, "Records"))


def test_every_ending_and_every_kind_of_score_is_described() -> None:
    assert {ending.value for ending in Ending} <= named(section(FILES, "Step"))
    assert set(get_args(ScoreKind)) <= named(section(FILES, "Verdict"))
    assert set(get_args(ScoreKind)) <= named(section(HTTP, "Summary"))


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Fields", request._Body.model_fields),
        ("Options of the run", request.Extension.model_fields),
        ("Fields that are refused", request._FORM),
        ("Fields without effect", request._LABELS),
        ("Messages", turns._ROLES),
    ],
)
def test_every_field_of_a_request_is_described(title: str, names: Any) -> None:
    assert set(names) <= named(section(HTTP, title))
