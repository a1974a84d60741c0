"""Read a pair file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dreamr._api_keys import clean_key
from dreamr._files import read_bytes
from dreamr._messages import one_line, reason, short_path
from dreamr._option_specs import BadOption, option_specs
from dreamr._options import RunOptions
from dreamr.pairs.checks import check_file
from dreamr.pairs.declaration import Launch, ModelEntry, PairEntry, PairFile
from dreamr.pairs.errors import BadPairFile, Fault, without_dashes
from dreamr.pairs.nodes import Node, UnreadableYaml, parse
from dreamr.pairs.paths import located, model_path, program_path
from dreamr.pairs.shape_of_file import FILE
from dreamr.pairs.shapes import Reading
from dreamr.pairs.variables import Variables
from dreamr.serving.options import ServeOptions

MOST_BYTES = 256 * 1024
_PATHS = ("profile", "keys_file")  # options that name a file
_PATHS_OR_NAMES = ("transcriber",)  # options that may name a folder

Options = TypeVar("Options", RunOptions, ServeOptions)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in a pair file.

    Attributes:
        path: The file.
        file: Its contents, None if there are faults.
        faults: What is wrong, by place.
        warnings: What is allowed and probably not meant, by place.
    """

    path: Path
    file: PairFile | None
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()


def read_pair_file(
    path: Path | str,
    *,
    environment: Mapping[str, str] | None = None,
    needs_secrets: bool = True,
) -> PairFile:
    """Read a pair file.

    Args:
        path: The file.
        environment: Values of the variables in it. None: those of the process.
        needs_secrets: Whether variables of API keys and of the engines' environment must be set.
            If not, keys without a value are None; `ModelEntry.api_key_variable` names them.

    Raises:
        BadPairFile: If the file cannot be read or has faults. The message is the first one.
    """
    found = examine(path, environment=environment, needs_secrets=needs_secrets)
    if found.file is None:
        first, *others = found.faults
        more = f" ({len(others)} more: dreamr pair check {short_path(path)})" if others else ""
        raise BadPairFile(first.at(short_path(path)) + more, found.faults)
    return found.file


def examine(
    path: Path | str,
    *,
    environment: Mapping[str, str] | None = None,
    needs_secrets: bool = True,
) -> Examined:
    """Read a pair file, and return all that is wrong with it.

    Args:
        path: The file.
        environment: As in `read_pair_file`.
        needs_secrets: As in `read_pair_file`.

    Raises:
        BadPairFile: If the file cannot be read.
    """
    path = Path(os.path.expanduser(path))
    content = _content(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Examined(path, None, (Fault(line, 1, "not UTF-8 text: save it as UTF-8"),))
    variables = Variables(os.environ if environment is None else environment)
    return _examined(path, content, text, variables, Reading(needs_secrets=needs_secrets))


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, most=MOST_BYTES, pipes=True)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            _check_whole(path)
        advice = "; dreamr pair init writes one" if isinstance(error, FileNotFoundError) else ""
        raise BadPairFile(
            f"cannot read the pair file {short_path(path)}: {reason(error)}{advice}"
        ) from error


def _check_whole(path: Path) -> None:
    """Check that a path does not name a pair of a file, where the whole file is meant.

    Raises:
        BadPairFile: If it does.
    """
    whole, colon, name = str(path).rpartition(":")
    if not colon or not os.path.isfile(whole):
        return
    file = examine(whole, needs_secrets=False).file
    names = "" if file is None else f", which has {', '.join(file.pairs)}"
    raise BadPairFile(
        f"{short_path(path)} names a pair, and this takes a whole pair file{names}: leave out "
        f"{':' + name!r}"
    )


def _examined(
    path: Path, content: bytes, text: str, variables: Variables, reading: Reading
) -> Examined:
    try:
        node = parse(text, variables, reading.faults)
    except UnreadableYaml as error:
        return Examined(path, None, tuple(sorted([*reading.faults, error.fault])))
    values = FILE.read(node, "the file", reading)
    if reading.faults:
        return Examined(path, None, tuple(sorted(reading.faults)))
    place = Path(os.path.abspath(path))
    file = _file(values, node, place, hashlib.sha256(content).hexdigest(), reading)
    warnings = check_file(file, node, reading)
    faults = tuple(sorted(set(reading.faults)))
    return Examined(path, None if faults else file, faults, tuple(sorted(warnings)))


def _file(
    values: Mapping[str, Any], node: Node, path: Path, digest: str, reading: Reading
) -> PairFile:
    """Return the contents of a file whose values have the right shapes."""
    folder = path.parent
    models = {
        name: _model(name, model, node.child("models", name), folder, reading)
        for name, model in values["models"].items()
    }
    pairs = {}
    for name, given in values["pairs"].items():
        options = {key: value for key, value in given.items() if key not in ("target", "draft")}
        entry = node.child("pairs", name)
        roles = {role: given.get(role) for role in ("target", "draft")}
        if "method" not in options and None in roles.values():
            options["method"] = "target" if roles["target"] is not None else "draft"
        read = _options(RunOptions, options, entry, folder, reading)
        pairs[name] = PairEntry(name=name, **roles, options=read, given=frozenset(options))
    gateway = values.get("gateway", {})
    return PairFile(
        name=values.get("name") or default_name(path),
        path=path,
        digest=digest,
        models=models,
        pairs=pairs,
        gateway=_options(ServeOptions, gateway, node.key("gateway"), folder, reading),
        gateway_given=frozenset(gateway),
    )


def _model(
    name: str, values: Mapping[str, Any], node: Node, folder: Path, reading: Reading
) -> ModelEntry:
    launch = values.get("launch")
    key, api_key = node.get("api_key"), None
    if key is not None:
        try:
            api_key = clean_key(values["api_key"] or "", "api_key")
        except BadOption as error:
            reading.add(key, str(error))
    return ModelEntry(
        name=name,
        urls=values.get("url", ()),
        model=values.get("model"),
        api_key=api_key,
        api_key_variable=None if key is None else key.variable,
        api_key_default=None if key is None else key.default,
        launch=None if launch is None else _launch(launch, node.child("launch"), folder),
        replicas=values.get("replicas", 1),
    )


def _launch(values: Mapping[str, Any], node: Node, folder: Path) -> Launch:
    env = node.get("env")
    items = {} if env is None else env.value
    variables = {key: one.variable for key, one in items.items() if one.variable}
    defaults = {key: one.default for key, one in items.items() if one.default is not None}
    given = {key: value for key, value in values.items() if value is not None}
    if "env" in given:
        given["env"] = {key: text for key, text in given["env"].items() if text is not None}
    given["model"] = model_path(values["model"], folder)
    if command := given.get("command"):
        given["command"] = (program_path(command[0], folder), *command[1:])
    return Launch(**given, env_variables=variables, env_defaults=defaults)


def _options(
    kind: type[Options], values: Mapping[str, Any], node: Node, folder: Path, reading: Reading
) -> Options:
    """Return options, with paths relative to the file; a combination that is refused is a fault."""
    made = dict(values)
    for name in _PATHS:
        if made.get(name) is not None:
            made[name] = located(made[name], folder)
    for name in _PATHS_OR_NAMES:
        if made.get(name) is not None:
            made[name] = model_path(made[name], folder)
    try:
        return kind(**made)
    except BadOption as error:
        message = without_dashes(str(error))
        named = [key for key in _named(message) if key in values]
        place = node.key(named[0]) if named and node.keys else node
        reading.add(place, one_line(message))
        return kind()


def _named(message: str) -> list[str]:
    """Return the options that a message names, in its order."""
    known = option_specs(RunOptions).keys() | option_specs(ServeOptions).keys()
    return [word for word in re.findall(r"\w+", message) if word in known]


def default_name(path: Path) -> str:
    """Return the name of a file that gives none: its stem, or its folder if that is `pair`."""
    stem = path.parent.name if path.stem == "pair" else path.stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower())[:63].strip("-") or "pair"
