"""Write the files of a deployment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from dreamr._messages import short_path
from dreamr._option_specs import BadOption
from dreamr._output_files import replace_file, writing
from dreamr.pairs import PairFile
from dreamr.serving.deploy import compose, kubernetes, ray, systemd
from dreamr.serving.deploy.plan import Plan, own_transcribers, plan, shared_devices

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
    if form in ("compose", "systemd"):
        return lines + [
            f"model {engine.model.name}: there is no {short_path(engine.folder)} on this machine"
            for engine in found.engines
            if engine.folder is not None and not engine.folder.exists()
        ]
    return lines + [
        f"{first.model.name} and {second.model.name} share a GPU in the pair file: {form} gives "
        "each its own, unless the cluster divides GPUs"
        for first, second in shared_devices(found)
    ]


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
