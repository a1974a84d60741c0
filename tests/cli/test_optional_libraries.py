"""Commands load without the libraries that only some of them need."""

from __future__ import annotations

import subprocess

from support.processes import start

OPTIONAL = ("matplotlib", "ray", "redis", "starlette", "torch", "transformers", "uvicorn")
BLOCKED = f"""
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import dreamr.cli
for module in pkgutil.iter_modules(dreamr.cli.__path__, "dreamr.cli."):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_all_commands_load_without_optional_libraries() -> None:
    with start(BLOCKED, stderr=subprocess.STDOUT) as process:
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert "dreamr.cli.deploy" in shown.splitlines()
