"""Where a file of results comes from."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def provenance() -> dict[str, Any]:
    """Command, commit of the source (empty outside a checkout), packages and processor."""
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "commit": git.stdout.strip(),
        "packages": {name: version(name) for name in ("torch", "transformers")},
        "processor": platform.processor() or platform.machine(),
    }
