"""Reader and schema accept the same files, and the published schema is current."""

from __future__ import annotations

import copy
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr._options import RunOptions
from dreamr.pairs import MODELINE, examine, schema, schema_text
from dreamr.pairs.nodes import parse
from dreamr.pairs.shape_of_file import FILE, GATEWAY, LAUNCH, MODEL, PAIR, RUN_FIELDS
from dreamr.pairs.shapes import Reading
from dreamr.pairs.variables import Variables

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "reference" / "pair.schema.json"
EXAMPLES = sorted((ROOT / "examples").glob("*pair*.yaml"))
VALIDATOR = jsonschema.Draft7Validator(schema())
KEYS = sorted({*FILE.fields, *MODEL.fields, *LAUNCH.fields, *PAIR.fields, *GATEWAY.fields})
WHOLE: dict[str, Any] = {
    "name": "bills",
    "models": {
        "big": {"url": "http://gpu1:8000/v1", "model": "org/big", "api_key": "key"},
        "many": {"url": ["http://gpu2:8000/v1"]},
        "small": {
            "launch": {
                "engine": "vllm",
                "model": "org/small",
                "context": 4096,
                "devices": [0, 1],
                "memory": 0.5,
                "flags": ["--seed", 1],
                "env": {"A": "b", "C": 1},
                "command": ["python", "-m", "vllm"],
            },
            "replicas": 2,
        },
    },
    "pairs": {
        "dreamr": {"target": "big", "draft": "small", "window": 4, "stop": ["x"]},
        "plain": {"target": "big", "thinking": "off", "threshold": 0.5, "fps": None},
    },
    "gateway": {"port": 8501, "tune": True, "wait": 1.5},
}
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70000)
    | st.floats(-2, 3, width=16)
    | st.sampled_from(["", "x", "off", "vllm", "a b", "Aa", "1", "http://h:1/v1"])
    | st.sampled_from([[], {}, ["x"], [0], [None], {"a": 1}, {"url": "x"}, {"target": "x"}])
)


def read(document: Any) -> list[str]:
    """Faults of the values, each for itself."""
    reading = Reading()
    node = parse(json.dumps(document), Variables({}), reading.faults)
    FILE.read(node, "the file", reading)
    return [fault.message for fault in reading.faults]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with one of its keys or indices."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The whole file with one to three changes."""
    document = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            container[key] = copy.deepcopy(draw(VALUES))  # later changes may go inside it
        elif change == "remove":
            del container[key]
        elif isinstance(container, dict):
            name = draw(st.sampled_from(KEYS) | st.sampled_from(["windw", "A b", "", "x"]))
            container[name] = copy.deepcopy(draw(VALUES))
    return document


def test_the_whole_file_is_accepted_by_both() -> None:
    VALIDATOR.check_schema(schema())
    assert read(WHOLE) == []
    assert list(VALIDATOR.iter_errors(WHOLE)) == []


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_reader_and_schema_accept_the_same_values(document: Any) -> None:
    faults, is_valid = read(document), VALIDATOR.is_valid(document)
    assert (not faults) == is_valid, faults


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(RUN_FIELDS)), VALUES)
def test_reader_and_schema_agree_about_each_option(name: str, value: Any) -> None:
    document = copy.deepcopy(WHOLE)
    document["pairs"]["plain"][name] = value
    faults, is_valid = read(document), VALIDATOR.is_valid(document)
    assert (not faults) == is_valid, faults


@pytest.mark.parametrize("name", RUN_FIELDS)
def test_the_default_of_an_option_is_accepted(name: str) -> None:
    default = RunOptions().to_json()[name]
    document = copy.deepcopy(WHOLE)
    document["pairs"]["plain"][name] = default
    assert read(document) == []
    assert VALIDATOR.is_valid(document)


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), "run scripts/docs"


def test_the_reference_page_is_current() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "generate" / "pair_file.py"))["page"]
    current = (ROOT / "docs" / "reference" / "pair-file.md").read_text(encoding="utf-8")
    assert page() == current, "run scripts/docs"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_and_names_the_schema(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN_KEY", "x")
    found = examine(path)
    assert (found.faults, found.warnings) == ((), ())
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"{MODELINE}\n")
    document = parse(text, Variables({"QWEN_KEY": "x"}), []).plain()
    assert list(VALIDATOR.iter_errors(document)) == []
