"""Every public name has a docstring."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXPORTS = (Path(__file__).parent / "exports.txt").read_text(encoding="utf-8")
PACKAGES = [line for line in EXPORTS.splitlines() if line and not line.startswith(" ")]


def undocumented(package: str) -> Iterator[str]:
    module = importlib.import_module(package)
    if not module.__doc__:
        yield package
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if not inspect.getdoc(value) or is_generated(value):
            yield f"{package}.{name}"
        if inspect.isclass(value) and value.__module__.startswith("dreamr"):
            yield from (f"{package}.{name}.{member}" for member in members(value))


def is_generated(value: Any) -> bool:
    """Whether a docstring is the signature that `dataclass` writes, or an inherited one."""
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return not doc or (inspect.isclass(value) and doc.startswith(f"{value.__name__}("))


def members(kind: type[Any]) -> Iterator[str]:
    """The public methods and properties of a class that have no docstring, own or inherited."""
    for name, value in vars(kind).items():
        documented = inspect.isfunction(value) or isinstance(value, property | classmethod)
        if documented and not name.startswith("_") and not inspect.getdoc(getattr(kind, name)):
            yield name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring(package: str) -> None:
    assert not list(undocumented(package))
