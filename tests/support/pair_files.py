"""Pair files of tests, and what is up from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamr.serving.launch.ports import free_port


def write_pair_file(
    folder: Path,
    models: Mapping[str, Any],
    pairs: Mapping[str, Any],
    name: str = "small-pair",
) -> Path:
    """Write a pair file whose gateway has a port of its own and ends at once.

    Args:
        folder: Its folder.
        models: Models by name.
        pairs: Pairs by name.
        name: Name of what is up.
    """
    file = {
        "name": name,
        "models": models,
        "pairs": pairs,
        "gateway": {"port": free_port(), "drain": 0},
    }
    path = folder / "pair.yaml"
    path.write_text(json.dumps(file))
    return path
