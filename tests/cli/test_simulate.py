from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dreamr.cli import main
from dreamr.evaluation.bench import Sample, Span
from dreamr.evaluation.simulator import closed_loop as _closed
from dreamr.evaluation.simulator import sweep as _sweep

QUICK = ["simulate", "--steps", "12", "--requests", "3"]


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
    return found


def test_methods_are_shown_with_their_closed_forms(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(
        capsys, *QUICK, "--step-length-cv", "0", "--acceptance", "0.8", "--draft-cost", "0.2"
    )
    assert [row["method"] for row in found] == ["sequential", "lookahead", "fpsr"]
    assert found[0]["closed form"] == pytest.approx(_closed.sequential(0.8, 0.2, 0.05))
    assert found[0]["speed-up"] == pytest.approx(found[0]["closed form"], rel=0.15)
    assert found[2]["speed-up"] > found[0]["speed-up"]


def test_the_table_says_that_it_is_a_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--method", "fpsr"]) == 0
    shown = capsys.readouterr().out
    assert "fpsr" in shown
    assert "rediction" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_skipped_verification_saves_judge_calls(capsys: pytest.CaptureFixture[str]) -> None:
    plain = [
        *QUICK,
        "--method",
        "fpsr",
        "--acceptance",
        "0.9",
        "--fallback",
        "on-reject",
        "--colocated",
    ]
    trusting = [*plain, "--skipped-verification", "1", "--final-answer", "draft"]
    (judged,), (skipped_verification,) = rows(capsys, *plain), rows(capsys, *trusting)
    assert skipped_verification["speed-up"] > judged["speed-up"]
    assert skipped_verification["judge busy"] < judged["judge busy"] / 2
    assert skipped_verification["closed form"] is None
    assert main(trusting) == 0
    assert "100% of accepted steps skip verification" in capsys.readouterr().out


def test_a_named_pair_is_placed_on_named_devices(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(
        capsys, *QUICK, "--models", "2B/32B", "--gpu", "H100", "--gpu", "L40S", "--method", "fpsr"
    )
    places = [(row["gpu"], row["devices"]) for row in found]
    assert ("H100", "both on 1") in places
    assert ("H100", "1 + 1") in places
    assert ("L40S", "1 + 1") not in places  # the target needs two of these
    assert all(row["equal devices"] <= row["speed-up"] * (1 + 1e-9) for row in found)


def sample(index: int, method: str, seconds: float, *spans: Span) -> Sample:
    return Sample("vqa", index, "made", method, 1, True, "1", "answer", seconds, 0.1, 20, 2, spans)


def write_bench(folder: Path) -> None:
    lines = []
    for index in range(3):
        own = Span("target", 0, 1, "kept", 0, 1, 10), Span("target", 1, 2, "kept", 1, 1, 10)
        drafted = (
            Span("draft", 0, 0.2, "accepted", 0, 1, 10, ratio=0.9),
            Span("target", 0, 0.4, "canceled", 0, 1, 2),
            Span("judge", 0.2, 0.4, "judging", 0, 1, 10),
            Span("draft", 0.2, 0.4, "canceled", 1, 1, 10),
            Span("target", 0.4, 1.4, "kept", 1, 1, 10),
        )
        lines += [sample(index, "target", 2.0, *own), sample(index, "fpsr-4-idle", 1.4, *drafted)]
        lines.append(sample(index, "token-sd", 1.5, *own))
    text = "".join(json.dumps(line.to_json()) + "\n" for line in lines)
    (folder / "samples.jsonl").write_text(text)


def test_a_bench_is_replayed_method_by_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bench(tmp_path)
    (found,) = rows(capsys, "simulate", "--replay", str(tmp_path))
    assert found["method"] == "fpsr-4-idle"  # methods within steps cannot be replayed
    assert found["problems"] == 3
    assert found["measured"] == pytest.approx(2 / 1.4)
    assert found["predicted"] == pytest.approx(found["measured"], rel=0.1)
    by_label = rows(capsys, "simulate", "--replay", str(tmp_path), "--method", "fpsr-4-idle")
    assert by_label == [found]


def test_the_path_of_a_replayed_bench_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs[", "1][red]")
    folder.mkdir(parents=True)
    write_bench(folder)
    assert main(["simulate", "--replay", str(folder)]) == 0
    assert "runs[/1][red], replayed in virtual time" in capsys.readouterr().out


def test_a_method_that_cannot_be_replayed_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bench(tmp_path)
    lost = replace(sample(0, "sequential", 1.0), finish="failed", steps=0, tokens=0)
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write(json.dumps(lost.to_json()) + "\n")
    command = ["simulate", "--replay", str(tmp_path), "--json"]
    assert main(command) == 0
    output, shown = capsys.readouterr()
    assert [row["method"] for row in json.loads(output)["rows"]] == ["fpsr-4-idle"]
    assert shown.startswith("warning: sequential is left out: no problem has a complete run")
    assert main([*command, "--method", "sequential"]) == 2
    assert capsys.readouterr().err.startswith("dreamr: no problem has a complete run")


@pytest.fixture
def small_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sweep, "ACCEPTANCES", (0.2, 0.6, 0.9))
    monkeypatch.setattr(_sweep, "RATIOS", (0.1, 0.3, 1.0))
    monkeypatch.setattr(_sweep, "VERDICTS", (0.05, 0.3))
    monkeypatch.setattr(_sweep, "PAIR_ACCEPTANCES", (0.3, 0.5, 0.9))


@pytest.mark.usefixtures("small_maps")
def test_a_sweep_leaves_images_and_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "--sweep", "--out", str(tmp_path / "maps")]) == 0
    written = [Path(line) for line in capsys.readouterr().out.split()]
    assert {path.name for path in written} == {
        f"{name}.{kind}" for name in ("speedup", "colocated", "window") for kind in ("csv", "png")
    }
    with (tmp_path / "maps" / "colocated.csv").open() as file:
        cells = [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
    assert len(cells) == 9
    slow = [cell for cell in cells if cell[2] < 1]
    assert (0.2, 1.0) in [cell[:2] for cell in slow]  # an expensive draft that is rarely accepted
    assert (0.9, 0.1) not in [cell[:2] for cell in slow]


@pytest.mark.usefixtures("small_maps")
def test_a_sweep_of_a_pair_is_one_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--models", "2B/32B:4", "--sweep", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"2b-32b-int4.csv", "2b-32b-int4.png"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--acceptance", "1.2"], "--acceptance must be at most 1, not 1.2"),
        (["--draft-cost", "0"], "--draft-cost must be above 0"),
        (["--window", "0"], "--window must be at least 1, not 0"),
        (["--step-length", "0"], "--step-length must be at least 1"),
        (["--method", "fspr"], "known: "),
        (["--method", "token-sd"], "known: "),
        (["--models", "2B"], "2B/32B for example"),
        (["--models", "2B/33B"], "unknown model '33B'"),
        (["--models", "2B/32B:5"], "4, 8 or 16 bits"),
        (["--models", "2B/32B", "--gpu", "H1000"], "unknown GPU 'H1000'"),
        (["--gpu", "H100"], "--gpu needs --models"),
        (["--sweep"], "--out"),
        (["--out", "maps"], "--sweep"),
        (["--replay", "nowhere"], "nowhere is not the folder of a bench"),
        (["--replay", "nowhere", "--models", "2B/32B"], "cannot be combined"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    output, shown = capsys.readouterr()
    assert output == ""
    assert shown.count("\n") == 1
    assert says in shown


def test_an_invalid_sample_is_named_with_its_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "samples.jsonl").write_text('{"task": "vqa"}\n')
    assert main(["simulate", "--replay", str(tmp_path)]) == 2
    assert "line 1 is not a sample" in capsys.readouterr().err


def test_a_bench_without_the_target_alone_cannot_be_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bench(tmp_path)
    kept = [
        line
        for line in (tmp_path / "samples.jsonl").read_text().splitlines(keepends=True)
        if '"target", "concurrency"' not in line.replace('"method": "target"', '"target"')
    ]
    (tmp_path / "samples.jsonl").write_text("".join(kept))
    assert main(["simulate", "--replay", str(tmp_path)]) == 2
    assert "no samples of 'target'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main([*QUICK, "--sweep", "--out", str(tmp_path / "file")]) == 1
    assert "cannot write" in capsys.readouterr().err
