"""Pair files: models, the pairs that they form, and the gateway that serves them, in one file."""

from dreamr.pairs.chosen import ChosenPair, choose_pair, parse_choice, with_keys
from dreamr.pairs.declaration import (
    ENGINES,
    LLAMA_SLOTS,
    EngineName,
    Launch,
    ModelEntry,
    PairEntry,
    PairFile,
)
from dreamr.pairs.errors import BadPairFile, Fault, NotRunning, PairNotFound
from dreamr.pairs.reading import Examined, examine, read_pair_file
from dreamr.pairs.schema import MODELINE, SCHEMA_URL, schema, schema_text
from dreamr.pairs.shape_of_file import OF_MODELS

__all__ = [
    "ENGINES",
    "LLAMA_SLOTS",
    "MODELINE",
    "OF_MODELS",
    "SCHEMA_URL",
    "BadPairFile",
    "ChosenPair",
    "EngineName",
    "Examined",
    "Fault",
    "Launch",
    "ModelEntry",
    "NotRunning",
    "PairEntry",
    "PairFile",
    "PairNotFound",
    "choose_pair",
    "examine",
    "parse_choice",
    "read_pair_file",
    "schema",
    "schema_text",
    "with_keys",
]
