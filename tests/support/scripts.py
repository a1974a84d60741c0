"""Scripts that run in the process of the tests: it has imported what they need, and shares it."""

from __future__ import annotations

import gc
import os
import runpy
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import pytest


def run_script(script: Path, *arguments: str | Path, folder: Path | None = None) -> None:
    """Run a Python script, which must end without an error, in a folder."""
    with (
        pytest.MonkeyPatch.context() as changed,
        patch.dict(os.environ, {"MPLBACKEND": "agg"}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        changed.setattr(sys, "argv", [str(script), *map(str, arguments)])
        changed.syspath_prepend(str(script.parent))
        if folder is not None:
            changed.chdir(folder)
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if end.code:
                pytest.fail(f"{script.name} ended with {end.code}")
        gc.collect()  # what it leaves open is not an error of the next test
