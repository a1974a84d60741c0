"""Problems of a file with sounds, for models that do not hear: `--transcriber` in each command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamr.cli import main
from dreamr.conversation import Conversation, Text
from dreamr.engines import Capabilities
from support.pages import noting
from support.pairs import RIGHT, Pair
from support.sockets import on_socket
from support.sounds import TranscriptionServed, sound

DEAF = {"capabilities": Capabilities(logprobs=True, hears=False, hearing_problem="text only")}
HEARD = "It is for Ann."
PROBLEMS = 20
CALIBRATE = ["calibrate", "--by", "answers", "--reference", "target", "--final-answer", "draft"]
CALIBRATE += ["--problems", str(PROBLEMS), "--risk", "0.2"]
MEASURE = ["train", "measure", "--problems", "2"]
BENCH = ["bench", "run", "--method", "target", "--method", "fpsr", "--limit", "2"]


@pytest.fixture
def task(tmp_path: Path) -> str:
    """A file of problems with a sound each."""
    (tmp_path / "note.wav").write_bytes(sound().data)
    answer = RIGHT[-1].removeprefix("Answer: ")
    row = {"answer": answer, "attachments": ["note.wav"]}
    rows = ({**row, "question": f"What is due on day {day}?"} for day in range(PROBLEMS))
    (file := tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def deaf(seen: list[Conversation]) -> Pair:
    noted = noting(seen).target | DEAF
    return Pair(target=noted, draft=noted)


def texts(conversation: Conversation) -> str:
    parts = (part for turn in conversation.turns for part in turn.parts)
    return " ".join(part.text for part in parts if isinstance(part, Text))


@pytest.mark.parametrize("command", [CALIBRATE, MEASURE, BENCH], ids=lambda command: command[0])
def test_the_models_get_the_words_that_a_server_heard(
    command: list[str], task: str, tmp_path: Path
) -> None:
    served, seen = TranscriptionServed(text=HEARD), list[Conversation]()
    out = str(tmp_path / "out")
    with on_socket(served) as url:
        flags = ["--task", task, "--transcriber", url, "--hotwords", "Ann, Bo", "--out", out]
        assert main([*command, *flags], open_model=deaf(seen)) == 0
    assert seen
    assert not any(conversation.sounds for conversation in seen)
    assert all(HEARD in texts(conversation) for conversation in seen)
    assert len(served.forms) == 1, "the same sound is transcribed once"
    assert served.forms[0]["prompt"] == b"Ann, Bo"


def test_a_calibration_without_a_transcriber_says_how_to_name_one(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "profile.json"
    assert main([*CALIBRATE, "--task", task, "--out", str(out)], open_model=deaf([])) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "takes no sound (text only): set --transcriber" in line
    assert not out.exists()


def test_a_bench_counts_the_sounds_of_its_problems(task: str, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    with on_socket(TranscriptionServed(text=HEARD)) as url:
        flags = ["--task", task, "--transcriber", url, "--out", str(out)]
        assert main([*BENCH, *flags], open_model=deaf([])) == 0
    lines = (out / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert all(json.loads(line)["attachments"]["sounds"] == 1 for line in lines)
