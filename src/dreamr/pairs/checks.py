"""Checks of a pair file whose values are right each for itself."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from dreamr._messages import one_line, short_path
from dreamr._option_rules import RUN_RULES, request_cases
from dreamr._option_specs import OptionRules
from dreamr.engines import is_served
from dreamr.engines.address import is_address, parse_address
from dreamr.engines.protocol import DType
from dreamr.errors import ModelNotFound
from dreamr.pairs.declaration import Launch, ModelEntry, PairFile, nearest
from dreamr.pairs.errors import Fault, without_dashes
from dreamr.pairs.nodes import Node
from dreamr.pairs.shapes import Reading
from dreamr.schedules import method

_SOME_SERVER = "http://localhost:1/v1"
_VARIABLE = "set the environment variable DREAMR_API_KEY"  # the remedy for addresses elsewhere
_KEY = "write api_key: ${NAME}, and set that variable"
_NOT_OF_LLAMA = ("revision", "dtype", "memory")
_OF_SERVERS = ("context", "memory", "port", "flags", "env", "command")


def check_file(file: PairFile, node: Node, reading: Reading) -> list[Fault]:
    """Add faults of parts that do not go together, and return warnings."""
    for name, model in file.models.items():
        _check_model(model, node.child("models", name), reading)
    _check_devices(file, node, reading)
    _check_ports(file, node, reading)
    _check_pairs(file, node, reading)
    return list(_warnings(file, node))


def _check_model(model: ModelEntry, node: Node, reading: Reading) -> None:
    places = node.child("url")
    many = places.value if isinstance(places.value, tuple) else (places,)
    for url, place in zip(model.urls, many, strict=False):
        try:
            if not is_address(url):
                raise ModelNotFound(
                    f"{one_line(url, 60)} is not a server URL: write http://host:port/v1"
                )
            parse_address(url)
        except ModelNotFound as error:
            reading.add(place, f"url: {error}".replace(_VARIABLE, _KEY))
    if len(model.urls) > 1:
        _check_urls(model.urls, many, reading)
    if model.launch is not None:
        _check_launch(model.launch, node, reading)


def _check_launch(launch: Launch, node: Node, reading: Reading) -> None:
    if is_served(launch.model):
        reading.add(
            node.child("launch", "model"),
            f'{one_line(launch.model, 60)} is an address: write it as "url" instead of "launch"',
        )
    if launch.engine == "llama.cpp":
        for key in _NOT_OF_LLAMA:
            if key in node.child("launch").value:
                reading.add(node.key("launch", key), f'engine llama.cpp has no "{key}": remove it')
    if launch.engine != "local":
        return
    for key in _OF_SERVERS:
        if key in node.child("launch").value:
            reading.add(node.key("launch", key), f'"{key}" is for servers: engine local has none')
    for key in ("replicas", "api_key"):
        if key in node.value:
            reading.add(node.key(key), f'"{key}" is for servers: engine local has none')
    if launch.dtype is not None and launch.dtype not in get_args(DType):
        known = ", ".join(get_args(DType))
        reading.add(node.child("launch", "dtype"), f"dtype of engine local is one of {known}")
    if len(launch.devices or ()) > 1:
        place = node.child("launch", "devices")
        reading.add(place, "engine local uses one device: name one, or use vllm or sglang")


def _check_urls(urls: Sequence[str], places: Sequence[Node], reading: Reading) -> None:
    """Check several addresses, in front of which `dreamr up` starts a router."""
    seen: set[str] = set()
    for url, place in zip(urls, places, strict=True):
        with suppress(ModelNotFound):  # reported already
            base = parse_address(url).base
            if not base.endswith("/v1"):
                reading.add(place, f"url: a router takes addresses that end in /v1, not {base}")
            if base in seen:
                reading.add(place, f"url: {base} is named twice")
            seen.add(base)


def _check_devices(file: PairFile, node: Node, reading: Reading) -> None:
    used: dict[int, float] = defaultdict(float)
    for name, model in file.models.items():
        launch = model.launch
        if launch is None:
            continue
        place = node.child("models", name, "launch")
        devices = launch.devices or ()
        if len(set(devices)) < len(devices):
            reading.add(place.key("devices"), "a device is named twice")
        if len(devices) % model.replicas:
            reading.add(
                place.key("devices"),
                f"{model.replicas} replicas cannot have an equal share of {len(devices)} devices: "
                f"name a multiple of {model.replicas}",
            )
        for device in dict.fromkeys(devices):
            used[device] += launch.memory or 0
            if launch.memory is not None and used[device] > 1.0001:
                reading.add(
                    place.key("memory"),
                    f"the models on device {device} ask for {used[device]:.3g} of its memory: "
                    "all together at most 1",
                )


def _check_ports(file: PairFile, node: Node, reading: Reading) -> None:
    owners = {file.gateway.port: "the gateway"}
    for name, model in file.models.items():
        launch = model.launch
        if launch is None or launch.port is None:
            continue
        if launch.port in owners:
            reading.add(
                node.child("models", name, "launch", "port"),
                f"port {launch.port} is that of {owners[launch.port]} too: choose another one",
            )
        owners[launch.port] = f"the model {name!r}"


def _check_pairs(file: PairFile, node: Node, reading: Reading) -> None:
    for name, pair in file.pairs.items():
        place = node.child("pairs", name)
        for role, model in pair.roles.items():
            if model not in file.models:
                reading.add(
                    place.child(role),
                    f'no model "{one_line(model, 60)}" in this file: {nearest(model, file.models)}',
                )
        missing = [role for role in method(pair.options.method).roles if role not in pair.roles]
        if missing:
            where = place.key("method")
            reading.add(
                where, f"method {pair.options.method} needs a {missing[0]}: add {missing[0]}"
            )


def _without_effect(file: PairFile, node: Node) -> Iterator[Fault]:
    """Yield a warning for each option that changes nothing in any run of its pair."""
    rules = OptionRules(RUN_RULES, cases=request_cases)
    for name, pair in file.pairs.items():
        if not file.models.keys() >= set(pair.roles.values()):
            continue
        values = asdict(file.run_options(name, dict.fromkeys(file.models, _SOME_SERVER)))
        place = node.child("pairs", name)
        for option, reason in rules.without_effect(values, pair.given).items():
            if place.get(option) is not None:
                message = f'"{option}" has no effect {reason}'
                yield place.key(option).fault(without_dashes(message))


def _missing_files(file: PairFile, node: Node) -> Iterator[Fault]:
    """Yield a warning for each file or folder that is not here; it may be where the pair runs."""
    for name, model in file.models.items():
        if model.launch is not None and _is_missing(model.launch.model):
            place = node.child("models", name, "launch", "model")
            yield place.fault(f"there is no {short_path(model.launch.model)}")
    for name, pair in file.pairs.items():
        if _is_missing(pair.options.profile):
            place = node.child("pairs", name, "profile")
            yield place.fault(f"there is no {short_path(pair.options.profile)}")
    if _is_missing(file.gateway.keys_file):
        place = node.child("gateway", "keys_file")
        yield place.fault(f"there is no {short_path(file.gateway.keys_file)}")


def _is_missing(path: str | Path | None) -> bool:
    return path is not None and os.path.isabs(path) and not os.path.exists(path)


def _warnings(file: PairFile, node: Node) -> Iterator[Fault]:
    used = file.used_models()
    yield from _without_effect(file, node)
    yield from _missing_files(file, node)
    for name, pair in file.pairs.items():
        if pair.target is not None and pair.target == pair.draft:
            yield (
                node.child("pairs", name)
                .key("draft")
                .fault("target and draft are the same model: name a smaller one as the draft")
            )
    for name, model in file.models.items():
        if name not in used:
            yield node.key("models", name).fault(f'no pair uses the model "{name}"')
        place = node.child("models", name)
        if model.api_key is not None and "$" not in str(place.child("api_key").raw):
            yield place.key("api_key").fault(
                "the key is in the file: write api_key: ${NAME}, and set that variable"
            )
