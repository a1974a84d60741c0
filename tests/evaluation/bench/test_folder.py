"""A broken bench folder gives one line that names the file and, where there is one, the line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.evaluation.bench import (
    BenchError,
    Folder,
    Plan,
    Sample,
    Span,
    read_config,
    read_samples,
    read_sessions,
)

PLAN = Plan(("vqa",), ("target",), limit=3)
SPAN = Span("draft", 0.0, 0.1, "accepted", 0, 1, 9, 0.93, True)
SAMPLES = [
    Sample("vqa", index, "grid", "target", 1, True, "red", "answer", 0.5, 0.1, 30, 3, (SPAN,))
    for _, index, *_ in sorted(PLAN.keys())
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bench with three samples and one session."""
    path = tmp_path / "bench"
    with Folder(path, PLAN) as opened:
        opened.begin_session({"started": "now"})
        for sample in SAMPLES:
            opened.add(sample)
    return path


def test_a_bench_has_its_folder_alone(tmp_path: Path) -> None:
    with Folder(tmp_path / "bench", PLAN) as opened:
        opened.add(SAMPLES[0])
        message = error_of(lambda: Folder(tmp_path / "bench", PLAN))
    assert message.startswith(f"{tmp_path / 'bench'} is in use by process {os.getpid()}: wait")
    with Folder(tmp_path / "bench", PLAN) as opened:
        opened.add(SAMPLES[1])
    assert read_samples(tmp_path / "bench") == SAMPLES[:2]
    assert {path.name for path in (tmp_path / "bench").iterdir()} == {
        "config.yaml",
        "samples.jsonl",
    }


def test_a_bench_of_a_version_without_an_option_continues(folder: Path) -> None:
    config = folder / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    assert any("revision:" in line for line in lines)
    config.write_text("".join(line for line in lines if "revision:" not in line))
    with Folder(folder, PLAN) as opened:
        assert opened.done == {sample.key for sample in SAMPLES}
    config.write_text("".join(line for line in lines if "revision:" not in line) + "  window: 3\n")
    assert "another configuration" in error_of(lambda: Folder(folder, PLAN))


def test_a_bench_continues_on_its_device_unless_another_one_is_named(folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("device: auto", "device: cpu", 1))
    stored = read_config(folder) or {}
    plan = PLAN.on_devices_of(stored)
    assert plan.options == RunOptions(device="cpu")
    with Folder(folder, plan) as opened:
        assert opened.done == {sample.key for sample in SAMPLES}
    other = replace(PLAN, options=RunOptions(device="cuda:1"))
    assert other.on_devices_of(stored) == other
    assert "another configuration" in error_of(lambda: Folder(folder, other))


@pytest.mark.parametrize("config", [{}, {"options": None}, {"options": {"device": 3}}])
def test_a_configuration_without_a_device_changes_nothing(config: dict[str, Any]) -> None:
    assert PLAN.on_devices_of(config) == PLAN


def session(**weights: str | None) -> dict[str, Any]:
    return {"models": {role: {"name": role, "weights": own} for role, own in weights.items()}}


def begin(path: Path, **weights: str | None) -> None:
    with Folder(path, replace(PLAN, limit=4)) as opened:
        opened.begin_session(session(**weights))


def test_a_bench_does_not_mix_weights(folder: Path) -> None:
    begin(folder, target="5e1f", draft="0c2a")
    begin(folder, target=None, draft="0c2a")  # of a server, weights are unknown
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = error_of(partial(begin, folder, target="5e1f", draft="77aa"))
    assert "has samples with other weights of the draft (hash 0c2a, now 77aa)" in said
    said = error_of(partial(begin, folder, target="77aa"))
    assert "has samples with other weights of the target (hash 5e1f, now 77aa)" in said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_bench_without_samples_may_begin_with_other_weights(tmp_path: Path) -> None:
    for weights in ("5e1f", "77aa"):
        begin(tmp_path / "bench", target=weights)
    assert len(read_sessions(tmp_path / "bench")) == 2


@pytest.mark.parametrize("models", [None, [], {"target": None}, {"target": {"weights": 3}}])
def test_a_session_without_weights_says_nothing_about_them(folder: Path, models: object) -> None:
    (folder / "provenance.json").write_text(json.dumps([{"models": models}]))
    begin(folder, target="5e1f")
    assert [entry["models"] for entry in read_sessions(folder)] == [
        models,
        session(target="5e1f")["models"],
    ]


def test_a_bench_that_is_refused_gives_its_folder_free(folder: Path) -> None:
    other = Plan(("vqa",), ("draft",), limit=3)
    for _ in range(2):
        assert "another configuration" in error_of(lambda: Folder(folder, other))


def test_samples_of_other_problems_are_refused_and_the_folder_stays_as_it_is(folder: Path) -> None:
    replace_line(folder, 2, changed(index=7))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert error_of(lambda: Folder(folder, replace(PLAN, limit=5))) == (
        f"{folder} has samples of problems that this bench does not draw, such as vqa 7: name "
        "another folder"
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_larger_limit_is_stored_with_its_first_sample(folder: Path) -> None:
    larger = replace(PLAN, limit=4)
    with Folder(folder, larger) as opened:
        ((_, index, *_),) = opened.left
    with Folder(folder, PLAN):
        pass
    with Folder(folder, larger) as opened:
        opened.add(replace(SAMPLES[0], index=index))
        assert not opened.left
    assert "--limit must be at least that" in error_of(lambda: Folder(folder, PLAN))


def replace_line(folder: Path, number: int, line: bytes) -> None:
    path = folder / "samples.jsonl"
    lines = path.read_bytes().splitlines()
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines) + b"\n")


def changed(**values: Any) -> bytes:
    return json.dumps({**SAMPLES[1].to_json(), **values}).encode()


def without(name: str) -> bytes:
    row = SAMPLES[1].to_json()
    del row[name]
    return json.dumps(row).encode()


def error_of(job: Callable[[], object]) -> str:
    with pytest.raises(BenchError) as caught:
        job()
    (line,) = str(caught.value).splitlines()
    return line


def test_a_bench_can_be_read_back(folder: Path) -> None:
    assert read_samples(folder) == SAMPLES
    assert read_sessions(folder) == [{"started": "now"}]
    config = read_config(folder)
    assert config is not None
    assert config["limit"] == 3


BROKEN_LINES = {
    "half a line": (changed()[:50], "not valid JSON"),
    "not UTF-8": (b'{"task": "\xff"}', "not valid JSON"),
    "a list": (b"[1, 2]", "not a JSON object"),
    "a number": (b"3", "not a JSON object"),
    "a missing key": (without("finish"), "'finish' is missing"),
    "an unknown key": (changed(mood="good"), "unknown key 'mood'"),
    "a text as number": (changed(seconds="fast"), "'seconds' has the wrong type"),
    "a number as text": (changed(task=3), "'task' has the wrong type"),
    "no spans": (changed(spans=None), "'spans' has the wrong type"),
    "a short span": (changed(spans=[["draft", 0.0]]), "span 1 is broken"),
    "a wrong span": (changed(spans=[["draft", 0.0, 0.1, "accepted", "first"]]), "span 1 is broken"),
}


@pytest.mark.parametrize(("line", "reason"), BROKEN_LINES.values(), ids=BROKEN_LINES)
def test_a_broken_line_is_named_and_the_file_stays_as_it_is(
    folder: Path, line: bytes, reason: str
) -> None:
    replace_line(folder, 2, line)
    path = folder / "samples.jsonl"
    before = path.read_bytes()
    expected = f"{path}, line 2 is not a sample ({reason}): remove the line to repeat its problem"
    assert error_of(lambda: Folder(folder, PLAN)) == expected
    assert error_of(lambda: read_samples(folder)) == expected
    assert path.read_bytes() == before


def test_a_broken_last_line_that_is_complete_is_named_too(folder: Path) -> None:
    replace_line(folder, 3, b"{}")
    for job in (lambda: Folder(folder, PLAN), lambda: read_samples(folder)):
        assert "samples.jsonl, line 3 is not a sample ('task' is missing)" in error_of(job)


@pytest.mark.parametrize("cut", [2, 40])
def test_an_incomplete_last_line_is_skipped(folder: Path, cut: int) -> None:
    path = folder / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_samples(folder) == SAMPLES[:-1]
    with Folder(folder, PLAN) as opened:
        assert len(opened.done) == 2
    assert path.read_bytes().endswith(b"\n")


def test_a_last_line_without_its_line_feed_is_read(folder: Path) -> None:
    path = folder / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert read_samples(folder) == SAMPLES


@pytest.mark.parametrize("name", ["samples.jsonl", "config.yaml", "provenance.json"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    read = {
        "samples.jsonl": read_samples,
        "config.yaml": read_config,
        "provenance.json": read_sessions,
    }
    expected = f"cannot read {folder / name}: Is a directory"
    assert error_of(lambda: read[name](folder)) == expected  # type: ignore[operator]

    def use() -> None:
        with Folder(folder, PLAN) as opened:
            opened.begin_session({})

    assert error_of(use) == expected


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bench"
    path.write_text("")
    assert error_of(lambda: Folder(path, PLAN)) == f"{path} is a file: name a folder"
    assert error_of(lambda: read_samples(path)).startswith(f"cannot read {path / 'samples.jsonl'}")


def test_a_folder_without_samples_is_named(tmp_path: Path) -> None:
    said = error_of(lambda: read_samples(tmp_path))
    assert f"{tmp_path} is not the folder of a bench (it has no samples.jsonl)" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("limit: 3\ntasks: [vqa\nseed: 1\n", ", line 3: not valid YAML"),
        ("\xff\xff", ": not valid YAML"),
        ("- vqa\n", " is not the configuration of a bench"),
        ("limit: 3\n", " is not the configuration of a bench: 'version' is missing"),
        ("version: 1\n", " is not the configuration of a bench: 'limit' is missing"),
        (
            "version: 1\nlimit: many\n",
            " is not the configuration of a bench: 'limit' has the wrong type",
        ),
    ],
)
def test_a_broken_configuration_is_named(folder: Path, text: str, reason: str) -> None:
    path = folder / "config.yaml"
    path.write_bytes(text.encode("latin-1"))
    assert error_of(lambda: Folder(folder, PLAN)) == f"{path}{reason}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[\n{", ", line 2: not valid JSON"),
        (b"\xff", ": not valid JSON"),
        (b"{}", " is not a list of sessions"),
        (b"[3]", " is not a list of sessions"),
    ],
)
def test_a_broken_provenance_is_named(folder: Path, content: bytes, reason: str) -> None:
    path = folder / "provenance.json"
    path.write_bytes(content)
    with Folder(folder, PLAN) as opened:
        assert error_of(lambda: opened.begin_session({})) == f"{path}{reason}"
    assert path.read_bytes() == content
