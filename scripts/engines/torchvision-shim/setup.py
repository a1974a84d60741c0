"""Installs the shim with a .pth file, so that every Python of the environment imports it."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPth(build_py):
    """Puts the .pth file beside the module."""

    def run(self) -> None:
        """Build the module, and write the .pth file."""
        super().run()
        Path(self.build_lib, "torchvision_shim.pth").write_text("import _torchvision_shim\n")


setup(
    name="torchvision-shim",
    version="0.1",
    py_modules=["_torchvision_shim"],
    cmdclass={"build_py": BuildWithPth},
)
