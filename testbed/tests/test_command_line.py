"""Command lines of the test bed fail in one line."""

import argparse

import pytest
from dreamr_testbed.command_line import errors_in_one_line
from dreamr_testbed.suites.spoken import measure


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--whisper", "w", "--out", "no/file"], 1, "cannot write no/file"),
        (["--whisper", "w", "--out", "f", "--count", "0"], 2, "must be at least 1, not 0"),
    ],
)
def test_a_measurement_of_transcripts_refuses_wrong_arguments(
    tmp_path, monkeypatch, capsys, arguments, status, says
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        measure.main(arguments)
    assert stopped.value.code == status
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_an_interruption_is_one_line(capsys):
    parser = argparse.ArgumentParser()
    with pytest.raises(SystemExit) as stopped, errors_in_one_line(parser, "run it again"):
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "interrupted: run it again\n"
