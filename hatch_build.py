"""The extra `testbed`: in a checkout the folder beside it, elsewhere the published distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

PUBLISHED = "dreamr-testbed>=0.1.0"


class Extras(MetadataHookInterface):
    """All extras of pyproject.toml, and `testbed`, which depends on where the build happens."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the project's optional dependencies."""
        folder = Path(self.root) / "testbed"
        is_checkout = (folder / "pyproject.toml").is_file()
        testbed = f"dreamr-testbed @ {folder.as_uri()}" if is_checkout else PUBLISHED
        metadata["optional-dependencies"] = {**self.config["extras"], "testbed": [testbed]}


class Published(BuildHookInterface[Any]):
    """Archives that do not name a folder of the machine that built them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Replace the folder of the test bed by its published name."""
        self.metadata.core.optional_dependencies["testbed"] = [PUBLISHED]
