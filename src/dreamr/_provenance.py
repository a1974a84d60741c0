"""Provenance of results files: command, commit, packages, processor and weights."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("dreamr", "torch", "transformers")


def provenance() -> dict[str, Any]:
    """Return command, commit, packages, processor and number of cores.

    `commit` is empty outside a checkout. `changed` tells whether `src` has uncommitted changes.
    """
    return {
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "src")),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def weights_hash(folder: Path) -> str | None:
    """Return a hash of all weight files of a model folder; None if there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def memory_mb(pids: Iterable[int]) -> int | None:
    """Return the memory of processes in MB, with shared pages counted once.

    None where /proc is not available.
    """
    kilobytes = 0
    for pid in pids:
        try:
            rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return None
        kilobytes += next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return round(kilobytes / 1024)


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except OSError:  # git is not installed
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name, or what the platform module knows about it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
