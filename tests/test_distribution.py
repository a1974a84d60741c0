"""What is built from this checkout, and what it requires."""

from __future__ import annotations

import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

pytest.importorskip("hatchling")

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
TESTBED = ROOT / "testbed"


def built(builder: type[WheelBuilder] | type[SdistBuilder], root: Path, out: Path) -> Path:
    (path,) = builder(str(root)).build(directory=str(out), versions=["standard"])
    return Path(path)


def requirements(metadata: bytes) -> list[str]:
    """What the extra `testbed` requires."""
    lines = metadata.decode().split("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith("Requires-Dist") and "'testbed'" in line]


def test_the_wheel_is_small_and_holds_nothing_of_the_test_bed(tmp_path: Path) -> None:
    path = built(WheelBuilder, ROOT, tmp_path)
    assert path.stat().st_size < 1_250_000  # code, pages and tables alone
    names = ZipFile(path).namelist()
    assert "dreamr/py.typed" in names
    assert not [name for name in names if name.endswith((".ttf", ".safetensors", ".png"))]
    assert not [name for name in names if name.startswith("dreamr_testbed")]


def test_in_a_checkout_the_test_bed_is_the_folder_beside(tmp_path: Path) -> None:
    with ZipFile(built(WheelBuilder, ROOT, tmp_path)) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        (line,) = requirements(wheel.read(name))
    assert line == f"Requires-Dist: dreamr-testbed @ {TESTBED.as_uri()} ; extra == 'testbed'"


def test_a_source_distribution_and_its_wheel_require_the_published_test_bed(tmp_path: Path) -> None:
    with tarfile.open(built(SdistBuilder, ROOT, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert not (source / "testbed").exists()
    with ZipFile(built(WheelBuilder, source, tmp_path)) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        found = requirements(wheel.read(name))
    assert found == requirements((source / "PKG-INFO").read_bytes())
    assert found == ["Requires-Dist: dreamr-testbed>=0.1.0; extra == 'testbed'"]


def test_the_test_bed_is_typed_and_declares_what_it_brings(tmp_path: Path) -> None:
    with ZipFile(built(WheelBuilder, TESTBED, tmp_path)) as wheel:
        names = wheel.namelist()
        (declared,) = [name for name in names if name.endswith("/entry_points.txt")]
        text = wheel.read(declared).decode()
    assert {"dreamr_testbed/py.typed", "dreamr_testbed/pair/target/model.safetensors"} <= set(names)
    assert "[dreamr.tasks]" in text
    assert "[dreamr.models]" in text
