"""The application around the commands: which are loaded, and what is said without arguments."""

import subprocess
import sys

import pytest

from dreamr.cli import main


def test_a_command_loads_no_room_of_another() -> None:
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
