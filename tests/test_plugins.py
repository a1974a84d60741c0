"""Entry points of installed distributions."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree

import pytest

from dreamr._plugins import Installed
from dreamr.errors import ModelNotFound


def test_names_follow_what_is_installed_while_a_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    models = Installed("dreamr.models", "model", ModelNotFound)
    before = models.names
    folder = tmp_path / "fresh-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fresh\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[dreamr.models]\nfresh = no_such_module:pair\n")
    assert set(models.names) - set(before) == {"fresh"}
    assert "fresh" in models.distributions
    rmtree(folder)
    assert models.names == before
