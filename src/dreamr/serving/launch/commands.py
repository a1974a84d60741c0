"""Command lines of engines, from what a pair file says about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from dreamr._cuda_order import CUDA_ORDER
from dreamr._option_specs import BadOption
from dreamr.pairs import LLAMA_SLOTS, Launch
from dreamr.serving.launch.ports import HOST
from dreamr.serving.launch.program import VISIBLE, EngineCommand

_ROUNDED = 1e-4  # error of a sum of shares
_PROJECTOR_FLAGS = (
    "--mmproj", "-mm", "--mmproj-url", "-mmu", "--mmproj-auto", "--no-mmproj", "--no-mmproj-auto",
)  # fmt: skip
_PART = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")


def engine_command(
    launch: Launch, port: int, api_key: str | None = None, taken: float = 0.0
) -> EngineCommand:
    """Return the command of an engine.

    Args:
        launch: The engine and its options.
        port: Port on which it listens, on the loopback interface.
        api_key: Key that its clients send.
        taken: Share of its devices' memory that other servers hold when it starts, in [0, 1].

    Raises:
        BadOption: If the engine lacks one of the options.
    """
    if launch.engine == "sglang" and launch.memory is not None:
        launch = replace(launch, memory=_share_of_free(launch.memory, taken))
    command = _ENGINES[launch.engine](launch, port, api_key)
    variables = {**_devices(launch), **command.environment, **launch.env}
    return replace(command, arguments=(*command.arguments, *launch.flags), environment=variables)


def with_projector(launch: Launch) -> Launch:
    """Return how a model is started, with the file for images that is beside its GGUF file.

    llama.cpp finds that file by itself only for models of the hub. It is not chosen among several,
    nor if it may belong to another model in the folder.
    """
    path = Path(launch.model)
    named = any(flag.partition("=")[0] in _PROJECTOR_FLAGS for flag in launch.flags)
    if launch.engine != "llama.cpp" or not path.is_absolute() or named:
        return launch
    models = {path.name, *(one.name for one in path.parent.glob("*.gguf"))}
    projectors = [name for name in models if "mmproj" in name.lower()]
    others = {_PART.sub("", name) for name in models.difference(projectors)}
    if len(projectors) != 1 or others != {_PART.sub("", path.name)}:
        return launch
    flags = ("--mmproj", str(path.with_name(projectors[0])), *launch.flags)
    return replace(launch, flags=flags)


def _vllm(launch: Launch, port: int, api_key: str | None) -> EngineCommand:
    on_cpu = launch.devices == ()
    arguments = [
        *(launch.command or ("vllm",)),
        "serve", launch.model, "--host", HOST, "--port", str(port),
        # Without it, the server does not say how much of a prompt came from its cache.
        "--enable-prompt-tokens-details",
        *_option("--revision", launch.revision),
        *_option("--dtype", launch.dtype),
        *_option("--max-model-len", launch.context),
        *_option("--gpu-memory-utilization", launch.memory),
        *_option("--tensor-parallel-size", _parallel(launch)),
    ]  # fmt: skip
    variables = {"VLLM_API_KEY": api_key} if api_key else {}
    if on_cpu:
        variables["VLLM_TARGET_DEVICE"] = "cpu"
    return EngineCommand(
        tuple(arguments), variables, "pip install vllm in an environment of its own"
    )


def _sglang(launch: Launch, port: int, api_key: str | None) -> EngineCommand:
    arguments = [
        *(launch.command or ("sglang",)),
        "serve", "--model-path", launch.model, "--host", HOST, "--port", str(port),
        "--enable-cache-report",
        *_option("--revision", launch.revision),
        *_option("--dtype", launch.dtype),
        *_option("--context-length", launch.context),
        *_option("--mem-fraction-static", launch.memory),
        *_option("--tp-size", _parallel(launch)),
        *_option("--device", "cpu" if launch.devices == () else None),
    ]  # fmt: skip
    if api_key and any(flag.partition("=")[0] == "--config" for flag in launch.flags):
        raise BadOption(
            f"the model {launch.model} has an API key, which SGLang gets in the file of --config: "
            "write what is in yours as 'flags'"
        )
    return EngineCommand(
        tuple(arguments),
        install="pip install sglang in an environment of its own",
        # SGLang reads no key from its environment.
        secrets={"api-key": api_key} if api_key else {},
    )


def _share_of_free(memory: float, taken: float) -> float:
    """Return a share of a device's memory as a share of what is free, as SGLang takes it.

    Servers that ask for more than there is are not on one device, whatever the file leaves open.
    """
    free = 1 - taken
    if not taken or memory > free + _ROUNDED:
        return memory
    return round(min(1.0, memory / free), 3)


def _llama(launch: Launch, port: int, api_key: str | None) -> EngineCommand:
    for name in ("revision", "dtype", "memory"):
        if getattr(launch, name) is not None:
            raise BadOption(
                f"llama.cpp has no '{name}': remove it from the model {launch.model}; a GGUF file "
                "is chosen by 'model'"
            )
    path = Path(launch.model)
    is_file = launch.model.endswith(".gguf") or path.is_absolute() or path.exists()
    slots = _slots(launch.flags)
    arguments = [
        *(launch.command or ("llama-server",)),
        "--model" if is_file else "-hf", launch.model, "--host", HOST, "--port", str(port),
        # The chat template of the model, and how much of a prompt came from the cache.
        "--jinja", "--metrics",
        *(() if slots else ("--parallel", str(LLAMA_SLOTS))),
        # The context is divided among the slots. With one cache for all (--kv-unified), requests
        # that are too long together end with an error.
        *_option("--ctx-size", launch.context and launch.context * (slots or LLAMA_SLOTS)),
        *_option("--n-gpu-layers", 0 if launch.devices == () else None),
    ]  # fmt: skip
    variables = {"LLAMA_API_KEY": api_key} if api_key else {}
    return EngineCommand(
        tuple(arguments),
        variables,
        "install it from https://github.com/ggml-org/llama.cpp/releases",
    )


_ENGINES: Mapping[str, Callable[[Launch, int, str | None], EngineCommand]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "llama.cpp": _llama,
}


def _option(flag: str, value: object) -> tuple[str, ...]:
    return () if value is None else (flag, str(value))


def _parallel(launch: Launch) -> int | None:
    """Return the number of devices over which the model is divided, None for one."""
    return len(launch.devices) if launch.devices and len(launch.devices) > 1 else None


def _devices(launch: Launch) -> dict[str, str]:
    """Return the variables that limit an engine to its devices."""
    if launch.devices is None:
        return {}
    order = CUDA_ORDER if launch.devices else {}
    return {**order, VISIBLE: ",".join(map(str, launch.devices))}


def _slots(flags: tuple[str, ...]) -> int | None:
    """Return the number of slots that llama.cpp's flags give, None if they do not."""
    for flag, value in zip(flags, (*flags[1:], ""), strict=False):
        name, _, joined = flag.partition("=")
        if name in ("--parallel", "-np"):
            given = joined or value
            return int(given) if given.isdigit() and int(given) else None
    return None
