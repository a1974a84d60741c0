"""What packages export, how modules are named, and what importing them costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dreamr

SOURCE = Path(dreamr.__file__).parent
LISTED = Path(__file__).with_name("exports.txt")
MODULES = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")}
# Of the test bed, its recipe and its single suites are for itself.
OF_TESTBED = ["dreamr_testbed", "dreamr_testbed.emulator", "dreamr_testbed.suites"]
PACKAGES = sorted(
    ".".join(["dreamr", *path.parent.parts]) for path in MODULES if path.name == "__init__.py"
)
PACKAGES += OF_TESTBED


def exports() -> dict[str, list[str]]:
    """Names by package, of the packages that export any."""
    found = {name: getattr(importlib.import_module(name), "__all__", []) for name in PACKAGES}
    return {name: sorted(names) for name, names in found.items() if names}


def listing() -> str:
    lines = [f"{name}\n  " + "\n  ".join(names) for name, names in exports().items()]
    return "\n\n".join(lines) + "\n"


def is_own(value: object) -> bool:
    """Whether it is defined here: imports such as `Any` are not meant for callers."""
    module = "builtins" if isinstance(value, bool) else getattr(value, "__module__", "dreamr")
    return str(module).startswith("dreamr")


def test_the_exports_of_all_packages_are_those_listed() -> None:
    # Intended? Then: python tests/test_exports.py > tests/exports.txt
    assert listing().splitlines() == LISTED.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", exports())
def test_a_package_exports_what_is_there_and_nothing_else_looks_public(name: str) -> None:
    package = importlib.import_module(name)
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and is_own(value)
    }
    # In the order that ruff's RUF022 demands.
    assert len(package.__all__) == len(set(package.__all__))
    assert public <= set(package.__all__) <= set(dir(package))
    assert all(hasattr(package, name) for name in package.__all__)


def test_modules_beside_packages_are_private_and_those_inside_are_not() -> None:
    beside = {path for path in MODULES if len(path.parts) == 1}
    assert {path for path in beside if not path.name.startswith("_")} == {Path("errors.py")}
    inside = {path for path in MODULES - beside if path.name != "__init__.py"}
    assert [str(path) for path in inside if path.name.startswith("_")] == []


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("dreamr", {"dreamr_testbed", "numpy", "rich", "torch", "transformers", "typer"}),
        ("dreamr.cli", {"dreamr_testbed", "matplotlib", "numpy", "torch", "transformers"}),
        ("dreamr.engines.http, dreamr.engines.local", {"dreamr_testbed", "numpy", "torch"}),
    ],
)
def test_importing_does_not_load_what_may_never_be_used(modules: str, absent: set[str]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"dreamr", *modules.split(", ")} <= loaded
    assert not loaded & absent


if __name__ == "__main__":
    sys.stdout.write(listing())
