"""`dreamr deploy`: what it says about the files that it has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.cli import main
from support.pair_files import write_pair_file


def test_the_folder_of_units_is_named_as_the_units_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"big": {"launch": {"engine": "vllm", "model": "org/big"}}}
    path = write_pair_file(tmp_path, models, {"plain": {"target": "big"}}, name="n" * 50)
    out = tmp_path / "units"
    assert main(["deploy", "systemd", str(path), "--out", str(out)]) == 0
    folder = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert folder.startswith("/etc/dreamr/n")
    assert any(f"{folder}/" in unit.read_text() for unit in out.glob("*.service"))
