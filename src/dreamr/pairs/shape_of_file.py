"""What a pair file holds: names of keys, shapes of values, and their descriptions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from typing import Any

from dreamr._option_specs import OptionSpec, option_specs
from dreamr._options import RunOptions
from dreamr.pairs.declaration import EngineName
from dreamr.pairs.option_values import Value
from dreamr.pairs.shapes import FieldsOf, ListOf, MapOf, OneOrMore, Text
from dreamr.serving.options import ServeOptions

# Options of a run that the models of the file set.
OF_MODELS = (
    "target", "draft", "target_model", "draft_model", "revision", "draft_revision", "device",
    "draft_device", "dtype", "draft_dtype",
)  # fmt: skip
_OF_PAIRS = ("served_model_name",)  # options of the gateway that the pairs set
_ELSEWHERE = {
    "target_model": 'write it as "model" of the model',
    "draft_model": 'write it as "model" of the model',
    "revision": 'write it in "launch" of the model',
    "draft_revision": 'write it as "revision" in "launch" of the model',
    "device": 'write it as "devices" in "launch" of the model',
    "draft_device": 'write it as "devices" in "launch" of the model',
    "dtype": 'write it in "launch" of the model',
    "draft_dtype": 'write it as "dtype" in "launch" of the model',
    "served_model_name": "clients name the pairs",
}
NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_NAME_RULE = "lower-case letters, digits and dashes, at most 63"


def _option(about: str, kind: Any, least: float | None = None, most: float | None = None) -> Value:
    return Value(kind, OptionSpec(about, "", least, most))


def _options(declared: Callable[..., Any], without: Collection[str]) -> dict[str, Value]:
    """Return the shapes of the fields of a dataclass of options."""
    made: Any = declared
    defaults = {i.name: None if i.default is MISSING else i.default for i in fields(made)}
    return {
        name: Value(kind, spec, defaults[name])
        for name, (kind, spec) in option_specs(declared).items()
        if name not in without
    }


RUN_FIELDS = _options(RunOptions, OF_MODELS)
GATEWAY_FIELDS = _options(ServeOptions, _OF_PAIRS)


def _for_pair(key: str) -> str | None:
    plain = key.replace("-", "_")
    if plain in GATEWAY_FIELDS and plain not in RUN_FIELDS:
        return 'write it under "gateway"'
    return _ELSEWHERE.get(plain)


def _for_gateway(key: str) -> str | None:
    plain = key.replace("-", "_")
    if plain in RUN_FIELDS and plain not in GATEWAY_FIELDS:
        return "write it in a pair"
    return _ELSEWHERE.get(plain)


def _for_model(key: str) -> str | None:
    return 'write it in "launch"' if key in LAUNCH.fields and key not in MODEL.fields else None


LAUNCH = FieldsOf(
    "A server that dreamr up starts.",
    {
        "engine": _option(
            "Program that serves the model; local opens it in dreamr's own process.", EngineName
        ),
        "model": Text("Folder or Hugging Face ID of the model."),
        "revision": Text("Branch, tag or commit on the Hugging Face hub."),
        "dtype": Text(
            "Data type of the weights, in the words of the engine; local: auto, float32, bfloat16."
        ),
        "context": _option("Longest context in tokens.", int, 1, 2**31 - 1),
        "devices": ListOf(
            "CUDA devices by index, divided among the replicas; an empty list for the CPU.",
            _option("A device.", int, 0, 1023),
        ),
        "memory": _option("Share of each device's memory, 0.01 to 1.", float, 0.01, 1),
        "port": _option(
            "Port of the server, or of the router; a free one by default.", int, 1, 65535
        ),
        "flags": ListOf(
            "Further arguments of the engine.",
            Text("An argument.", "", "text", numbers=True),
        ),
        "env": MapOf(
            "Environment variables of the engine.",
            Text("A name.", "^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and _"),
            Text("A value.", "", "text", secret=True, numbers=True),
        ),
        "command": ListOf(
            "Program with arguments to start instead of the engine's own.",
            Text("A word.", numbers=True),
            1,
        ),
    },
    required=("engine", "model"),
)
MODEL = FieldsOf(
    "A model: the address of a server that runs, or how to start one.",
    {
        "url": OneOrMore(
            Text(
                "Address of a server that runs, such as http://gpu1:8000/v1; a list for several, "
                "in front of which dreamr up starts a router."
            )
        ),
        "model": Text("Name of the model at its server; its only model by default."),
        "api_key": Text("API key of the server, best as ${NAME}.", secret=True),
        "launch": LAUNCH,
        "replicas": _option(
            "Number of servers to start, with a router in front of several.", int, 1, 1024
        ),
    },
    one_of=("url", "launch"),
    needs={"model": "url", "replicas": "launch"},
    elsewhere=_for_model,
)
PAIR = FieldsOf(
    "A pair of models, or a plain model, and the options of its runs.",
    {
        "target": Text("Name of the model that judges."),
        "draft": Text("Name of the model that proposes steps."),
        **RUN_FIELDS,
    },
    some_of=("target", "draft"),
    elsewhere=_for_pair,
)
GATEWAY = FieldsOf("Options of the gateway.", GATEWAY_FIELDS, elsewhere=_for_gateway)
FILE = FieldsOf(
    "Models, the pairs that they form, and the gateway that serves them.",
    {
        "name": Text(
            "Name of what dreamr up starts; by default the file's stem, or its folder's name for "
            "pair.yaml.",
            NAME,
            _NAME_RULE,
        ),
        "models": MapOf(
            "Models by a name of your choice.", Text("A name.", NAME, _NAME_RULE), MODEL, 1
        ),
        "pairs": MapOf(
            "Pairs and plain models by the name that clients give; the first is the default.",
            Text("A name.", "^[!-~]{1,200}$", "at most 200 ASCII characters without spaces"),
            PAIR,
            1,
        ),
        "gateway": GATEWAY,
    },
    required=("models", "pairs"),
)
