from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from dreamr import Reasoner, RunOptions
from dreamr.cli import main
from dreamr.conversation import Audio, Document
from dreamr.engines import Failure, ScriptedEngine
from dreamr.errors import EngineLost, ModelNotFound
from dreamr.trace import RunFinished, StepRejected, read_trace
from dreamr.training import Records
from support.attachments import pdf, wav
from support.pairs import RIGHT, Pair

QUESTION = "What do tea and milk cost together?"
SEQUENTIAL = ["run", QUESTION, "--method", "sequential"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "receipt.png"
    PIL.Image.new("RGB", (8, 8), "white").save(path)
    return path


def failure(tokens: int) -> dict[int, Failure]:
    return {0: Failure(EngineLost("the target died"), tokens)}


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    return text.strip()


def test_the_answer_alone_goes_to_standard_output(
    pair: Pair, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SEQUENTIAL, "-a", str(image)], open_model=pair) == 0
    output, shown = capsys.readouterr()
    assert output == "3.70\n"
    lines = [line.split() for line in shown.splitlines()]
    assert lines[:4] == [
        ["1", "draft", "judge", "ratio", "0.93", "Tea", "costs", "2.50."],
        ["2", "rejected", "judge", "ratio", "0.00", "Milk", "costs", "7.20."],
        ["2", "target", "Milk", "costs", "1.20."],
        ["3", "target", "Answer:", "3.70"],
    ]
    assert "3 steps in" in shown


def test_json_is_one_object_with_everything(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SEQUENTIAL, "--json", "--window", "2"], open_model=pair) == 0
    said = json.loads(one_line(capsys.readouterr().out))
    assert (said["answer"], said["complete"], said["error"]) == ("3.70", True, None)
    assert [step["source"] for step in said["steps"]] == ["draft", "target", "target"]
    assert [step["text"] for step in said["steps"]] == list(RIGHT)
    assert said["steps"][0]["score"] == pytest.approx(0.93)
    assert said["steps"][0]["kind"] == "ratio"
    assert said["usage"]["draft"]["rejected"] == 3
    assert said["options"]["window"] == 2


def test_trace_and_timeline_are_written(
    pair: Pair, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, html = tmp_path / "t.jsonl", tmp_path / "t.html"
    html.write_text("an older and much longer page " * 10_000)
    argv = [*SEQUENTIAL, "-a", str(image), "--trace", str(trace), "--html", str(html)]
    assert main(argv, open_model=pair) == 0
    events = read_trace(trace)
    assert isinstance(events[-1], RunFinished)
    assert sum(isinstance(event, StepRejected) for event in events) == 1
    page = html.read_text()
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert "data:image/png;base64," in page
    shown = capsys.readouterr().err
    assert str(trace) in shown
    assert str(html) in shown


def test_records_of_several_runs_gather_in_one_file(
    pair: Pair, image: Path, tmp_path: Path
) -> None:
    records = tmp_path / "records.jsonl"
    for _ in range(2):
        assert main([*SEQUENTIAL, "-a", str(image), "--record", str(records)], open_model=pair) == 0
    first, second = Records([records])
    assert first.name != second.name
    assert first.steps == second.steps
    assert [len(list(one.preferences())) for one in (first, second)] == [1, 1]
    assert len(first.conversation.images) == 1


def test_files_of_any_kind_are_attached(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bill, question = tmp_path / "bill.pdf", tmp_path / "question.wav"
    bill.write_bytes(pdf(9, 99, 200))
    question.write_bytes(wav())
    records, html = tmp_path / "records.jsonl", tmp_path / "t.html"
    command = ["run", "-a", str(bill), "-a", str(question), "--pages", "1,3"]
    command += ["--record", str(records), "--html", str(html)]
    assert main(command, open_model=pair) == 0
    [record] = Records([records])
    bill_read, asked = record.conversation.turns[-1].parts
    assert isinstance(bill_read, Document)
    assert [page.number for page in bill_read.pages] == [1, 3]
    assert isinstance(asked, Audio)
    page = html.read_text()
    assert "Spoken question" in page
    assert "page 3" in page
    assert "<audio" in page


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["run"], 2, "nothing is asked"),
        (["run", "-a", "{pdf}"], 1, "the question is empty"),
        (["run", "Q?", "-a", "{pdf}", "--pages", "9"], 1, "9"),
        (["run", "Q?", "-a", "{pdf}", "--pages", "x"], 2, "--pages"),
        (["run", "Q?", "-a", "{pdf}", "--pdf-text", "maybe"], 2, "--pdf-text"),
        (["run", "Q?", "-a", "{pdf}", "--frames", "0"], 2, "--frames must be at least 1"),
        (["run", "Q?", "-a", "{pdf}", "--draft-frames", "0"], 2, "--draft-frames must be"),
        (["run", "Q?", "-a", "{missing}"], 1, "missing"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    argv: list[str],
    status: int,
    message: str,
    pair: Pair,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(9))
    places = {"pdf": str(tmp_path / "bill.pdf"), "missing": str(tmp_path / "missing.pdf")}
    assert main([one.format_map(places) for one in argv], open_model=pair) == status
    assert message in one_line(capsys.readouterr().err)


def test_options_of_attachments_without_one_have_no_effect(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SEQUENTIAL, "--pages", "1", "--no-sound"], open_model=pair) == 0
    said = capsys.readouterr().err
    assert "warning: --pages has no effect without --attach" in said
    assert "warning: --no-sound has no effect without --attach" in said


SERVED = ("--target", "http://one:8000/v1", "--draft", "http://two:8000/v1")


@pytest.mark.parametrize(
    ("flags", "pixels"),
    [
        ((), 64),
        ((*SERVED, "--max-pixels", "16"), 16),
        ((*SERVED, "--max-pixels", "16", "--draft-max-pixels", "36"), 36),
        ((*SERVED, "--max-pixels", "0"), 64),
        ((*SERVED[:2], "--max-pixels", "16"), 64),
    ],
)
def test_a_large_image_is_read_in_the_size_that_servers_get(
    flags: tuple[str, ...], pixels: int, pair: Pair, image: Path, tmp_path: Path
) -> None:
    records = tmp_path / "records.jsonl"
    command = [*SEQUENTIAL, *flags, "-a", str(image), "--record", str(records)]
    assert main(command, open_model=pair) == 0
    [record] = Records([records])
    [read] = record.conversation.images
    assert read.width * read.height == pixels


@pytest.mark.parametrize("flag", ["--html", "--trace", "--record"])
def test_an_unwritable_file_is_found_before_anything_is_loaded(
    flag: str, pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "missing" / "file"
    assert main([*SEQUENTIAL, flag, str(target)], open_model=pair) == 1
    output, shown = capsys.readouterr()
    assert output == ""
    assert "cannot write" in one_line(shown)
    assert pair.opened == {}


def test_a_full_disk_loses_no_answer(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SEQUENTIAL, "--trace", "/dev/full"], open_model=pair) == 1
    output, shown = capsys.readouterr()
    assert output == "3.70\n"
    assert "cannot write /dev/full" in shown.splitlines()[-1]


def test_files_stay_as_they_were_where_no_run_began(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.errors["target"] = ModelNotFound("there is no model at nowhere")
    old, new = tmp_path / "old.html", tmp_path / "new.jsonl"
    old.write_text("yesterday's")
    assert main([*SEQUENTIAL, "--html", str(old), "--trace", str(new)], open_model=pair) == 1
    assert one_line(capsys.readouterr().err) == "dreamr: there is no model at nowhere"
    assert old.read_text() == "yesterday's"
    assert not new.exists()


def test_a_lost_target_is_a_line_and_its_trace_is_kept(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.target["stream_failures"] = failure(tokens=4)
    trace = tmp_path / "t.jsonl"
    argv = ["run", QUESTION, "--method", "target", "--trace", str(trace)]
    assert main(argv, open_model=pair) == 1
    output, shown = capsys.readouterr()
    assert output == ""
    assert "Tea costs 2.50." in shown
    assert shown.splitlines()[-1].startswith("dreamr: ")
    assert "the target died" in shown.splitlines()[-1]
    assert isinstance(read_trace(trace)[-1], RunFinished)


def test_json_of_a_failed_run_holds_the_error_and_the_steps(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.target["stream_failures"] = failure(tokens=4)
    assert main(["run", QUESTION, "--method", "target", "--json"], open_model=pair) == 1
    said = json.loads(one_line(capsys.readouterr().out))
    assert "the target died" in said["error"]
    assert (said["finish"], len(said["steps"])) == ("failed", 1)


def test_a_run_cut_by_a_limit_is_bounded_and_says_which_flag_helps(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.target["script"] = "again and again\n\n" * 99
    assert main(["run", QUESTION, "--method", "target", "--max-steps", "3"], open_model=pair) == 1
    output, shown = capsys.readouterr()
    assert output == ""
    assert "--max-steps" in shown.splitlines()[-1]


def test_characters_that_steer_terminals_are_not_passed_on(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.target["script"] = "red \x1b[31m and \x9b2J\n\nAnswer: \x1b]0;title\x07 3"
    assert main(["run", QUESTION, "--method", "target"], open_model=pair) == 0
    assert not set("".join(capsys.readouterr())) & {"\x1b", "\x9b", "\x07"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--threshold", "2"], "threshold"),
        (["--threshold", "much"], "threshold"),
        (["--method", "magic"], "sequential"),
        (["--window", "0"], "window"),
        (["--nonsense"], "--nonsense"),
        (["--html", "x", "--trace", "x"], "must name different files"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: list[str], named: str, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", QUESTION, *arguments], open_model=pair) == 2
    output, shown = capsys.readouterr()
    assert output == ""
    assert named in one_line(shown)
    assert pair.opened == {}


def test_a_missing_question_and_an_unknown_command_are_usage_errors(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [main([command], open_model=pair) for command in ("run", "rum")] == [2, 2]
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no file"),
        (b"", "empty"),
        (b"tea 2.50\n", "is text, which is not attached"),
        (b"\x89PNG\r\n\x1a\n", ""),
    ],
)
def test_a_bad_image_is_one_line(
    content: bytes | None,
    said: str,
    pair: Pair,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    assert main([*SEQUENTIAL, "-a", str(path)], open_model=pair) == 1
    assert said in one_line(capsys.readouterr().err)
    assert pair.opened == {}


def test_an_image_may_come_from_standard_input(
    pair: Pair, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with io.TextIOWrapper(io.BytesIO(image.read_bytes())) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main([*SEQUENTIAL, "-a", "-"], open_model=pair) == 0


def test_options_come_from_flag_then_environment_then_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[RunOptions] = []
    real = Reasoner

    def spy(options: RunOptions, **rest: Any) -> Reasoner:
        seen.append(options)
        return real(options, **rest)

    monkeypatch.setenv("DREAMR_WINDOW", "7")
    monkeypatch.setenv("DREAMR_THRESHOLD", "0.6")
    monkeypatch.setenv("DREAMR_DETERMINISTIC", "1")
    argv = ["run", QUESTION, "--method", "target", "--threshold", "0.5", "--draft-device", "cuda:1"]
    monkeypatch.setattr("dreamr.cli.run.Reasoner", spy)
    assert main(argv, open_model=Pair()) == 0
    assert seen == [
        RunOptions(
            method="target", window=7, threshold=0.5, deterministic=True, draft_device="cuda:1"
        )
    ]


def test_a_defect_is_one_line_too(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.errors["target"] = ZeroDivisionError("by\nzero")
    assert main([*SEQUENTIAL], open_model=pair) == 1
    line = one_line(capsys.readouterr().err)
    assert "internal error (ZeroDivisionError: by zero)" in line


def test_the_version_and_the_help_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dreamr 0.")
    assert main(["run", "-h"]) == 0
    assert "--max-tokens" in capsys.readouterr().out


def test_scripted_engines_are_what_these_tests_run_on(pair: Pair) -> None:
    main([*SEQUENTIAL], open_model=pair)
    assert {type(engine) for engine in pair.opened.values()} == {ScriptedEngine}
