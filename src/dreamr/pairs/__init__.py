"""Pair files: models, the pairs that they form, and the gateway that serves them, in one file."""

from dreamr.pairs.declaration import (
    ENGINES,
    EngineName,
    Launch,
    ModelEntry,
    PairEntry,
    PairFile,
)
from dreamr.pairs.errors import BadPairFile, Fault, NotRunning, PairNotFound
from dreamr.pairs.reading import Examined, examine, read_pair_file
from dreamr.pairs.schema import MODELINE, SCHEMA_URL, schema, schema_text

__all__ = [
    "ENGINES",
    "MODELINE",
    "SCHEMA_URL",
    "BadPairFile",
    "EngineName",
    "Examined",
    "Fault",
    "Launch",
    "ModelEntry",
    "NotRunning",
    "PairEntry",
    "PairFile",
    "PairNotFound",
    "examine",
    "read_pair_file",
    "schema",
    "schema_text",
]
