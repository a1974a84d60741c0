"""Write the files of a deployment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from dreamr._messages import short_path
from dreamr._option_specs import BadOption
from dreamr._output_files import replace_file, writing
from dreamr.engines import is_served
from dreamr.engines.address import names_loopback, parse_address
from dreamr.pairs import PairFile
from dreamr.serving.deploy import compose, kubernetes, ray, systemd
from dreamr.serving.deploy.mounts import beside_weights, named_paths, unmounted
from dreamr.serving.deploy.plan import EngineService, Plan, own_transcribers, plan, shared_devices

Format: TypeAlias = Literal["compose", "kubernetes", "ray", "systemd"]
FORMATS: tuple[Format, ...] = get_args(Format)
_FILES: Mapping[Format, Callable[[Plan], dict[str, str]]] = {
    "compose": compose.files,
    "kubernetes": kubernetes.files,
    "ray": ray.files,
    "systemd": systemd.files,
}


def deployment_files(pair_file: PairFile, form: Format) -> dict[str, str]:
    """Return the text of each file of a deployment by its path.

    Args:
        pair_file: What is deployed.
        form: What runs it.

    Raises:
        BadOption: If the pair cannot be deployed so.
    """
    return _FILES[form](plan(pair_file))


def warnings(pair_file: PairFile, form: Format) -> list[str]:
    """Return what the files of a deployment cannot say."""
    found = plan(pair_file)
    lines = [
        f"pair {name}: the transcriber {short_path(path)} is not copied: put it there on the "
        "machines of the gateway"
        for name, path in own_transcribers(pair_file)
        if Path(path).is_absolute()
    ]
    if form in ("compose", "kubernetes"):
        lines += [
            f"{what}: inside a container, {host} is the container itself: name the machine"
            for what, host in _loopback_hosts(pair_file)
        ]
        lines += [
            f"model {engine.model.name}: {short_path(path)} is not mounted: its image must have "
            "it, or put it beside the weights"
            for engine in found.engines
            for path in unmounted(engine, _existing(engine) if form == "compose" else ())
        ]
    if form in ("compose", "systemd"):
        return lines + [
            f"model {engine.model.name}: there is no {short_path(path)} on this machine"
            for engine in found.engines
            if engine.weights is not None
            for path in (engine.weights, *beside_weights(engine))
            if not path.exists()
        ]
    if form == "ray":
        lines += [
            f"model {engine.model.name}: values of variables are not written: set "
            f"{', '.join(unset)} in the environment of the cluster's nodes"
            for engine in found.engines
            if (unset := ray.unset_variables(found, engine))
        ]
    return lines + [
        f"{first.model.name} and {second.model.name} share a GPU in the pair file: {form} gives "
        "each its own, unless the cluster divides GPUs"
        for first, second in shared_devices(found)
    ]


def _existing(engine: EngineService) -> list[Path]:
    return [path for path in named_paths(engine) if path.exists()]


def _loopback_hosts(pair_file: PairFile) -> Iterator[tuple[str, str]]:
    """Yield what has an address on the machine of the pair file, and its host."""
    for what, host in _hosts(pair_file):
        if names_loopback(f"[{host}]" if ":" in host else host):
            yield what, host


def _hosts(pair_file: PairFile) -> Iterator[tuple[str, str]]:
    """Yield what the gateway connects to, and its host."""
    for name, model in pair_file.used_models().items():
        yield from ((f"model {name}", parse_address(url).host) for url in model.urls)
    for name, entry in pair_file.pairs.items():
        transcriber = entry.given_options.get("transcriber")
        if is_served(transcriber):
            yield f"transcriber of pair {name}", parse_address(transcriber).host
    yield "store", urlsplit(pair_file.gateway.store or "").hostname or ""


def write_files(files: Mapping[str, str], folder: Path, pair_file: PairFile) -> None:
    """Write files into a folder; earlier ones of the same names are replaced.

    Args:
        files: Text of each file by its path.
        folder: The folder, which is created.
        pair_file: The pair file, which is not replaced.

    Raises:
        BadOption: If one of the files would replace the pair file.
        Unwritable: If a file cannot be written.
    """
    for name in files:
        if os.path.realpath(folder / name) == os.path.realpath(pair_file.path):
            raise BadOption(
                f"--out {short_path(folder)} would overwrite the pair file: name another folder"
            )
    for name, text in files.items():
        path = folder / name
        with writing(path, "choose another --out"):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode("utf-8"))
