"""`dreamr pair init`: write a pair file for given models and devices."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from dreamr._messages import short_path
from dreamr._option_specs import BadOption, Conflict, OptionRules, OptionSpec, Unused
from dreamr._output_files import replace_file, writing
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.sizing import (
    Architecture,
    Device,
    Pair,
    choose,
    cpu_device,
    detect_gpus,
    find_architecture,
    parse_devices,
)
from dreamr.sizing.pair_text import BUNDLED, pair_text
from dreamr.sizing.summary import summary

_MODELS, _MACHINE, _OUTPUT = "Models", "Machine", "Output"
_BUNDLED, _STDOUT = "embedded", Path("-")
INIT_EPILOG = epilog(
    "dreamr pair init",
    "dreamr pair init --target Qwen/Qwen3-VL-8B-Instruct --draft ./small",
    "dreamr pair init --target ./big --draft ./small --gpus 4x80GB",
    notes=("Guide: docs/guides/sizing.md",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """Options of `dreamr pair init`."""

    target: Annotated[
        str | None,
        OptionSpec("Target: Hugging Face ID or folder.", _MODELS, shown="the bundled pair"),
    ] = None
    draft: Annotated[
        str | None, OptionSpec("Draft, about a tenth as large as the target.", _MODELS)
    ] = None
    engine: Annotated[
        Literal["auto", "vllm", "sglang", "llama.cpp"],
        OptionSpec("Engine of both models: auto, vllm, sglang, llama.cpp.", _MODELS),
    ] = "auto"
    gpus: Annotated[
        str,
        OptionSpec(
            "GPUs: 4x80GB, 2xH100, none for the CPU, auto for those of this machine.", _MACHINE
        ),
    ] = "auto"
    longest: Annotated[
        int | None,
        OptionSpec(
            "Longest context in tokens.",
            _MACHINE,
            1024,
            10**7,
            shown="the longest possible, up to 32768",
            flags=("--context",),
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        OptionSpec(
            "Largest number of pixels of an image.", _MACHINE, 2**12, 2**28, shown="by the context"
        ),
    ] = None
    out: Annotated[Path, OptionSpec("Pair file to write, - to print it.", _OUTPUT)] = Path(
        "pair.yaml"
    )
    force: Annotated[bool, OptionSpec("Replace an existing file.", _OUTPUT)] = False

    @property
    def is_bundled(self) -> bool:
        """Whether the bundled pair is wanted."""
        return self.target in (None, _BUNDLED) and self.draft in (None, _BUNDLED)


_CONFLICTS = (
    Conflict(
        lambda o: o.target in (None, _BUNDLED) and o.draft not in (None, _BUNDLED),
        "a draft needs a target: name one with --target",
    ),
    Conflict(
        lambda o: o.draft in (None, _BUNDLED) and o.target not in (None, _BUNDLED),
        "a target needs a draft: name a model of its family with a tenth of its parameters with "
        "--draft",
    ),
)
_RULES = OptionRules(
    (
        Unused(
            ("engine", "gpus", "longest", "max_pixels"),
            lambda o: o.target in (None, _BUNDLED),
            "with the bundled pair",
        ),
    ),
    _CONFLICTS,
)


def _init(options: InitOptions) -> None:
    """Write a pair file: memory, devices and options of two models, and what they gain.

    Sizes come from the models' configurations, or from a table of known models. Without --target,
    the file is for the bundled pair. Speeds are predictions.
    """
    _check_free(options)
    if options.is_bundled:
        _write(options, BUNDLED)
        _say(options, ["The bundled pair: small models for trying out, on the CPU."])
        return
    engine = None if options.engine == "auto" else options.engine
    target, draft = (_sized(name or "", options.out) for name in (options.target, options.draft))
    pair = Pair(target, draft, engine)
    devices = _devices(options.gpus)
    chosen = choose(pair, devices, options.longest, options.max_pixels)
    lines = summary(pair, chosen, devices)
    _write(options, pair_text(pair, chosen, devices, ("dreamr pair init:", *lines)))
    _say(options, lines)


init_command = command(_init, Declared(InitOptions), rules=_RULES)


def _sized(name: str, out: Path) -> Architecture:
    """Return the architecture of a model, with a path as the file names it: from its folder."""
    found, path = find_architecture(name), Path(os.path.expanduser(name))
    if not path.exists():
        return found
    folder = Path() if out == _STDOUT else out.parent
    written = os.path.relpath(path, folder) if not path.is_absolute() else str(path)
    return replace(found, name=written if written.startswith(("/", "..")) else f"./{written}")


def _devices(text: str) -> tuple[Device, ...]:
    """Return the described devices, or the CPU if there is no GPU."""
    gpus = detect_gpus() if text == "auto" else parse_devices(text)
    return gpus or (cpu_device(),)


def _check_free(options: InitOptions) -> None:
    if options.out != _STDOUT and options.out.exists() and not options.force:
        raise BadOption(
            f"{short_path(options.out)} exists: name another file with --out, or replace it with "
            "--force"
        )


def _write(options: InitOptions, text: str) -> None:
    if options.out == _STDOUT:
        print(text, end="")
        return
    with writing(options.out, "name another file with --out"):
        replace_file(options.out, text.encode())


def _say(options: InitOptions, lines: list[str]) -> None:
    is_printed = options.out == _STDOUT
    console = Console(stderr=is_printed, highlight=False, markup=False, emoji=False)
    if not is_printed:
        out = short_path(options.out)
        lines = [*lines, f"wrote {out}; start it with dreamr up {shlex.quote(out)}"]
    for line in lines:
        console.print(line, soft_wrap=not console.is_terminal)
