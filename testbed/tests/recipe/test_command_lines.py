"""Command lines that evaluate models and collect their mistakes fail in one line."""

import pytest

pytest.importorskip("transformers")

from dreamr_testbed import PAIR
from dreamr_testbed.recipe import evaluate, mistakes
from team_members import FailingEvaluator

DRAFT = str(PAIR / "draft")


@pytest.mark.parametrize(
    ("main", "arguments", "status", "says"),
    [
        (evaluate.main, ["--draft", "nowhere"], 1, "nowhere is not a folder"),
        (evaluate.main, ["--draft", DRAFT, "--target", "none"], 1, "none is not a folder"),
        (evaluate.main, ["--draft", DRAFT, "--out", "no/file"], 1, "cannot write no/file"),
        (evaluate.main, ["--draft", DRAFT, "--count", "0"], 2, "must be at least 1, not 0"),
        (evaluate.main, ["--draft", DRAFT, "--workers", "0"], 2, "must be at least 1, not 0"),
        (mistakes.main, ["--draft", "nowhere", "--out", "pool"], 1, "nowhere is not a folder"),
        (mistakes.main, ["--draft", DRAFT, "--out", "no/pool"], 1, "cannot write no/pool"),
        (mistakes.main, ["--draft", DRAFT, "--out", "pool", "--count", "-1"], 2, "at least 1"),
        (mistakes.main, ["--draft", DRAFT, "--out", "pool", "--start", "-1"], 2, "at least 0"),
        (
            mistakes.main,
            ["--draft", DRAFT, "--out", "pool", "--temperature", "nan"],
            2,
            "--temperature must be at least 0, not nan",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(tmp_path, monkeypatch, capsys, main, arguments, status, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == status
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_models_with_other_tokens_are_no_pair(tmp_path, tokenizer, capsys):
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["--target", str(tmp_path), "--draft", DRAFT])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.endswith("have other tokens: name models of one pair\n")


def test_an_evaluation_that_fails_leaves_out_the_problems_that_remain(tmp_path):
    with pytest.raises(ValueError, match="cannot solve"):
        evaluate.evaluate(FailingEvaluator(tmp_path), 100 * evaluate.BATCH, 1)
    assert 0 < len(list(tmp_path.iterdir())) < 100
