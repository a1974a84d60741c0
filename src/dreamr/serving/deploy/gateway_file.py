"""The pair file of a deployed gateway: every model is the address of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dreamr._files import read_text
from dreamr._messages import short_path
from dreamr._option_specs import BadOption
from dreamr.pairs import PairFile
from dreamr.pairs.nodes import typed
from dreamr.pairs.variables import literal
from dreamr.serving.deploy.plan import STARTING_SECONDS, Plan, Service, key_variable

PAIR_FILE = "pair.yaml"
_BREAKS = "\x85\u2028\u2029"
_FILES = ("profile",)  # options of a pair that may name a file


def gateway_file(
    found: Plan,
    address: Callable[[Service], str],
    port: int,
    host: str = "0.0.0.0",
    keys: str = ".",
) -> str:
    """Return the text of the pair file.

    Args:
        found: What is deployed.
        address: Returns the host and port of a service.
        port: Port of the gateway.
        host: Address on which the gateway listens.
        keys: Folder of the file of API keys where the gateway runs.
    """
    return dump(gateway_values(found, address, port, host, keys), "Written by dreamr deploy.")


def gateway_values(
    found: Plan,
    address: Callable[[Service], str],
    port: int,
    host: str = "0.0.0.0",
    keys: str = ".",
) -> dict[str, Any]:
    """Return the contents of the pair file; arguments as those of `gateway_file`."""
    pair_file = found.pair_file
    models: dict[str, Any] = {}
    for name, model in pair_file.used_models().items():
        service = found.service(name)
        url = model.urls[0] if service is None else f"http://{address(service)}/v1"
        models[name] = {"url": url}
        if model.model is not None:
            models[name]["model"] = model.model
        if (variable := key_variable(model)) is not None:
            default = found.defaults.get(variable)
            models[name]["api_key"] = f"${{{variable}{'' if default is None else f':-{default}'}}}"
    pairs: dict[str, Any] = {}
    for name, entry in pair_file.pairs.items():
        given = {option: _moved(option, value) for option, value in entry.given_options.items()}
        pairs[name] = {**entry.roles, **_literal(given)}
    gateway = {name: getattr(pair_file.gateway, name) for name in sorted(pair_file.gateway_given)}
    gateway = _literal(gateway)
    if gateway.get("keys_file") is not None:
        gateway["keys_file"] = str(PurePosixPath(keys) / Path(gateway["keys_file"]).name)
    gateway |= {"host": host, "port": port}
    gateway.setdefault("wait", float(STARTING_SECONDS))
    return {"name": pair_file.name, "models": models, "pairs": pairs, "gateway": gateway}


def copied_files(pair_file: PairFile) -> Mapping[str, Path]:
    """Return the files that the gateway reads, by their path beside its pair file.

    Raises:
        BadOption: If a file is missing, or two of them have the same name.
    """
    found: dict[str, Path] = {}
    for entry in pair_file.pairs.values():
        for option in _FILES:
            path = Path(entry.given_options.get(option) or "")
            if not path.is_absolute() or path.is_dir():  # another name, or a folder
                continue
            if not path.is_file():
                raise BadOption(f"pair {entry.name}: there is no {option} {short_path(path)}")
            if found.setdefault(path.name, path) != path or path.name == PAIR_FILE:
                other = found[path.name] if found[path.name] != path else "the gateway's pair file"
                raise BadOption(
                    f"pair {entry.name}: {short_path(path)} and {short_path(other)} would have the "
                    "same name where they are copied: rename one of them"
                )
    return found


def copied_texts(pair_file: PairFile) -> dict[str, str]:
    """Return the texts of those files by the same paths.

    Raises:
        BadOption: As `copied_files`, or if a file cannot be read or is not text.
    """
    files = copied_files(pair_file)
    return {name: read_text(path, "file", BadOption) for name, path in files.items()}


class _Dumper(yaml.SafeDumper):
    """Writes equal values out, without references to each other."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        """Return a text in quotes if it would be read otherwise: as a number, or as a line break.

        PyYAML writes by YAML 1.1, in which 1e3 is a text.
        """
        style = None if isinstance(typed(text), str) else "'"
        if any(character in text for character in _BREAKS):
            style = '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def dump(values: Any, comment: str = "") -> str:
    """Return values as YAML, below a comment."""
    return dump_all([values], comment)


def dump_all(documents: list[Any], comment: str = "") -> str:
    """Return several documents as YAML."""
    text: str = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True
    )
    return f"# {comment}\n{text}" if comment else text


def _literal(value: Any) -> Any:
    """Return the value of an option in which no text is read as a variable."""
    match value:
        case str():
            return literal(value)
        case tuple() | list():
            return [_literal(item) for item in value]
        case dict():
            return {name: _literal(item) for name, item in value.items()}
        case _:
            return value


def _moved(option: str, value: Any) -> Any:
    """Return the value of an option where the gateway runs: files lie beside its pair file."""
    if option in _FILES and value is not None and Path(value).is_file():
        return Path(value).name
    return value
