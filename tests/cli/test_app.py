"""The application around the commands: what is loaded, and messages about wrong usage."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer

from dreamr import RunOptions
from dreamr._option_specs import OptionSpec
from dreamr.cli import main
from dreamr.cli.flags import Declared, command
from support.pairs import Pair


@dataclass(frozen=True, kw_only=True)
class _Declaration:
    words: Annotated[tuple[str, ...], OptionSpec("Words.", "Arguments", positional=True)]
    loud: Annotated[bool, OptionSpec("Whether.", "Options")] = True
    name: Annotated[tuple[str, ...], OptionSpec("Names.", "Options")] = ()


def test_a_command_imports_no_package_of_another() -> None:
    code = (
        "import sys; from dreamr.cli import main; main(['run', '--help']);"
        "others = ('dreamr.evaluation.simulator', 'dreamr.evaluation.bench', 'torch');"
        "print([m for m in sys.modules if m in others])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Answer a question" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [[], ["bench"]])
def test_without_arguments_the_help_is_shown_and_nothing_else(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output, shown = capsys.readouterr()
    assert "Commands" in output
    assert shown == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run hi --treshold 0.5", "no such option: --treshold; did you mean --threshold?"),
        ("run hi --alpha 0.5", "no such option: --alpha (try 'dreamr run --help')"),
        ("run hi --hedge never", "no such option: --hedge (try 'dreamr run --help')"),
        ("run hi --reuse off", "did you mean --token-reuse?"),
        ("serve --origins x", "did you mean --allowed-origins?"),
        ("simulate --cost 1", "did you mean --draft-cost or --judge-cost?"),
        ("simulate --length 9", "did you mean --step-length or --step-length-cv?"),
        ("bench run --out x --thread 2", "did you mean --threads"),
        ("doctor --answer x", "did you mean --answer-marker?"),
        ("train sapo --out x --max-token 1", "did you mean --max-tokens?"),
        ("train measure --problem 1", "did you mean --problems?"),
        ("calibrate --out x --confidance 0.9", "did you mean --confidence or --target-confidence?"),
        ("bench rum", "no such command 'rum'; did you mean 'run'?"),
        (
            "run hi --fallback never",
            "--fallback must be one of auto, eager, idle, on-reject, not 'never'",
        ),
        ("calibrate --out x --by words", "--by must be one of steps, answers, not 'words'"),
        ("simulate --final-answer me", "--final-answer must be one of target, draft, not 'me'"),
        ("run hi --threshold 2", "--threshold must be at most 1, not 2"),
        ("simulate --acceptance 1.5", "--acceptance must be at most 1, not 1.5"),
        ("run hi --threshold much", "--threshold must be a number, not 'much'"),
        ("run hi --window 2.5", "--window must be a whole number, not '2.5'"),
        ("train curves x", "missing option --out"),
        ("serve --port 70000", "--port must be at most 65535, not 70000"),
        ("train record --out x --concurrency 0", "--concurrency must be at least 1, not 0"),
        ("run", "nothing is asked: give a question, or a spoken one"),
    ],
)
def test_a_wrong_command_line_gives_one_line_with_the_right_form(
    line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split(), open_model=Pair()) == 2
    output, shown = capsys.readouterr()
    assert output == ""
    assert shown.count("\n") == 1
    assert says in shown


def test_an_environment_variable_stands_between_flag_and_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[RunOptions] = []
    app = typer.Typer()
    app.command()(command(read.append, Declared(RunOptions, "DREAMR_", ("threshold", "window"))))
    monkeypatch.setenv("DREAMR_THRESHOLD", "0.25")
    monkeypatch.setenv("DREAMR_WINDOW", "3")
    monkeypatch.setenv("DREAMR_MAX_TOKENS", "7")  # not a flag of this command
    app(["--window", "5"], standalone_mode=False)
    assert read == [RunOptions(threshold=0.25, window=5)]


def test_a_default_that_is_on_can_be_switched_off_and_flags_may_repeat() -> None:
    read: list[Any] = []
    app = typer.Typer()
    app.command()(command(read.append, Declared(_Declaration)))
    app(["a", "b", "--no-loud", "--name", "x", "--name", "y"], standalone_mode=False)
    app(["a"], standalone_mode=False)
    assert read == [
        _Declaration(words=("a", "b"), loud=False, name=("x", "y")),
        _Declaration(words=("a",)),
    ]
