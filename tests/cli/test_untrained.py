"""Commands that take tasks refuse those that a model was not trained on, with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.cli import main
from support.pairs import Pair

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SEVERAL = "--target embedded-multi-image"
COMMANDS = {
    "calibrate": ("calibrate --risk 0.5 --problems 1", "--draft embedded-multi-image"),
    "record": ("train record --problems 1", "--draft embedded-multi-image"),
    "measure": ("train measure --problems 1", "--draft embedded-multi-image"),
    "sapo": ("train sapo --problems 1 --steps 1", "--draft embedded"),
}


@pytest.mark.parametrize(("command", "draft"), COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        ("", "pages", "the target was not trained on pages and would guess (trained on: docmath, "),
        (SEVERAL, "docmath,pages-hard", "the target was not trained on pages-hard and would"),
        (SEVERAL, "story-hard", "was not trained on level 2, 3 of story-hard and would guess"),
    ],
)
def test_a_task_that_the_target_was_not_trained_on_is_one_line(
    command: str,
    draft: str,
    target: str,
    task: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    argv = [*command.split(), *draft.split(), *target.split(), "--task", task, "--out", str(out)]
    assert main(argv, open_model=Pair()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert line.endswith("or set --untrained to run it anyway")
    assert not out.exists()


def test_a_draft_is_checked_where_it_solves_problems_and_not_where_it_learns_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = f"train measure --problems 1 --task clip {SEVERAL} --out {tmp_path}/figures.json"
    assert main(argv.split(), open_model=Pair()) == 1
    assert "the draft was not trained on clip" in capsys.readouterr().err
    argv = f"train record --method target --problems 1 --task clip {SEVERAL} --out {tmp_path}/r"
    assert main(argv.split(), open_model=Pair()) == 0


@pytest.mark.parametrize("command", ["calibrate --risk 0.99", "train measure"])
def test_untrained_runs_any_task(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    argv = f"{command} --problems 1 --task clip --untrained --out {out}"
    assert main(argv.split(), open_model=Pair()) == 0
    assert "trained" not in capsys.readouterr().err
    assert '"clip"' in out.read_text(encoding="utf-8")
