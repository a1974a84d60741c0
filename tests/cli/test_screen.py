from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from dreamr.cli.screen import Screen, stderr_console
from dreamr.gate import ScoreKind, Verdict
from dreamr.steps import Ending, Step
from dreamr.trace import Event, Note, SpeechTranscribed, StepCommitted, StepRejected

STEP = Step("Tea costs 2.50.\n\n", 5, Ending.DELIMITER)
GREEN, RED, BLUE, STRUCK = "\x1b[32m", "31m", "\x1b[94m", "\x1b[9;"


def shown(event: Event, **console: object) -> str:
    file = io.StringIO()
    options = {"file": file, "force_terminal": True, "color_system": "standard", "width": 60}
    Screen(Console(**{**options, **console})).show(event)  # type: ignore[arg-type]
    return file.getvalue()


def verdict(score: float, kind: ScoreKind = "ratio") -> Verdict:
    return Verdict(score >= 0.7, score, 0.7, "", kind=kind)


def test_an_accepted_draft_is_green_with_its_ratio() -> None:
    line = shown(StepCommitted(0.0, 0, STEP, "draft", verdict(0.93)))
    assert f"{GREEN}Tea costs 2.50." in line
    assert f"{GREEN}judge ratio 0.93" in line


def test_a_score_is_shown_with_its_kind() -> None:
    line = shown(StepCommitted(0.0, 0, STEP, "draft", verdict(0.98, "draft_probability")))
    assert "draft confidence 0.98" in line
    line = shown(StepCommitted(0.0, 0, STEP, "draft", verdict(0.91, "likelihood")))
    assert "target likelihood 0.91" in line
    line = shown(StepRejected(0.0, 0, STEP, verdict(0.0, "none")))
    assert "no score" in line
    assert "0.00" not in line


def test_the_targets_own_step_is_blue_and_has_no_ratio() -> None:
    line = shown(StepCommitted(0.0, 0, STEP, "target"))
    assert f"{BLUE}Tea costs 2.50." in line
    assert "0." not in line.replace("2.50", "")


def test_a_rejected_draft_is_struck_out_in_red_with_its_ratio() -> None:
    line = shown(StepRejected(0.0, 1, STEP, verdict(0.2)))
    assert f"{STRUCK}{RED}Tea costs 2.50." in line
    assert "judge ratio 0.20" in line


def test_without_color_words_say_who_wrote_a_step() -> None:
    line = shown(StepRejected(0.0, 1, STEP, verdict(0.2)), no_color=True)
    assert RED not in line
    assert "rejected" in line


def test_no_color_is_asked_for_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert stderr_console().no_color


def test_a_note_is_shown() -> None:
    assert "the draft was lost" in shown(Note(0.0, "the draft was lost"))


def test_what_was_heard_is_shown_with_the_name_of_the_sound() -> None:
    line = shown(
        SpeechTranscribed(0.0, "question.ogg", "What does\x1b[2J tea cost?"), no_color=True
    )
    assert "speech in question.ogg: What does\N{REPLACEMENT CHARACTER}[2J tea cost?" in line
    assert "speech in clip.mp4: no speech" in shown(
        SpeechTranscribed(0.0, "clip.mp4", ""), no_color=True
    )


def test_a_file_gets_long_lines_whole_and_no_codes(capsys: pytest.CaptureFixture[str]) -> None:
    long = Step("word " * 100 + "\nand a second line\n\n", 100, Ending.DELIMITER)
    Screen(stderr_console()).show(StepCommitted(0.0, 0, long, "target"))
    text = capsys.readouterr().err
    assert [len(line) for line in text.splitlines()] == [30 + 5 * 100, 30 + 17]
    assert "\x1b" not in text


def test_a_terminal_gets_long_lines_wrapped_under_the_text() -> None:
    long = Step("word " * 20 + "\n\n", 100, Ending.DELIMITER)
    text = shown(StepCommitted(0.0, 0, long, "target"), color_system=None)
    first, *others = [line.rstrip() for line in text.splitlines()]
    assert first == f"{'  1 target':<30}" + " ".join(["word"] * 6)
    assert others == [" " * 30 + " ".join(["word"] * n) for n in (6, 6, 2)]


def test_the_tags_of_thoughts_are_not_shown() -> None:
    for text in ("<think>\nTea costs 2.50.\n\n", "Tea costs 2.50.</think>", "[/THINK]"):
        step = Step(text, 5, Ending.DELIMITER)
        for event in (
            StepCommitted(0.0, 0, step, "target"),
            StepRejected(0.0, 0, step, verdict(0)),
        ):
            line = shown(event)
            assert "think" not in line.lower()
            assert ("Tea costs 2.50." in line) == ("Tea" in text)


def test_warnings_of_engines_are_shown_as_notes_until_the_run_ends() -> None:
    file = io.StringIO()
    logger = logging.getLogger("dreamr.engines.http")
    with Screen(Console(file=file, width=60)).warnings():
        logger.warning("%s does not think about \x1b[31mimages", "tiny")
        logger.info("connected")
    logger.warning("too late")
    shown = "note: tiny does not think about \N{REPLACEMENT CHARACTER}[31mimages\n"
    assert file.getvalue() == shown
