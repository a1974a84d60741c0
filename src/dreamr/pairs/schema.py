"""The JSON schema of pair files, for editors."""

from __future__ import annotations

import json
from typing import Any

from dreamr.pairs.option_values import DEFINITIONS
from dreamr.pairs.shape_of_file import FILE

SCHEMA_URL = (
    "https://raw.githubusercontent.com/dreamr-project/dreamr/main/docs/reference/pair.schema.json"
)
# First line of generated files: editors find the schema by it.
MODELINE = f"# yaml-language-server: $schema={SCHEMA_URL}"


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 7, which editors of YAML support)."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": SCHEMA_URL,
        "title": "Pair file of dreamr",
        **FILE.schema(),
        "definitions": DEFINITIONS,
    }


def schema_text() -> str:
    """Return the schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
