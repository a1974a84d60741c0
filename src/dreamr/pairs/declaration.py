"""What a pair file declares, as frozen values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from dreamr._messages import short_path
from dreamr._options import RunOptions
from dreamr.engines.protocol import DType
from dreamr.pairs.errors import NotRunning, PairNotFound
from dreamr.serving.options import ServeOptions
from dreamr.steps import Role

EngineName: TypeAlias = Literal["vllm", "sglang", "llama.cpp", "local"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
LLAMA_SLOTS = 4  # requests that llama.cpp serves at the same time, unless its flags say otherwise
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A model that dreamr starts.

    Attributes:
        engine: Program that serves the model; `local` is dreamr's own process, without a server.
        model: Folder, Hugging Face ID, or the name of an installed model for `local`. A folder
            relative to the file is absolute here.
        revision: Branch, tag or commit on the Hugging Face hub. None: the default branch.
        dtype: Data type of the weights, in the words of the engine. None: its default. For `local`,
            one of `dreamr.engines.protocol.DType`.
        context: Longest context in tokens. None: the engine's default.
        devices: CUDA devices by index; none for the CPU. None: the engine decides.
        memory: Share of each device's memory, above 0 to 1. None: the engine's default.
        port: Port of the server. None: a free one.
        flags: Further arguments of the engine.
        env: Environment variables of the engine, beside those of dreamr. Never shown.
        env_variables: Of values of `env` that are one variable of dreamr's environment, its name.
        env_defaults: Of those values, the defaults, where the file gives one.
        command: Program with arguments to start instead of the engine's own. None: the engine's.
            A path relative to the file is absolute here.
    """

    engine: EngineName
    model: str
    revision: str | None = None
    dtype: str | None = None
    context: int | None = None
    devices: tuple[int, ...] | None = None
    memory: float | None = None
    port: int | None = None
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    env_variables: Mapping[str, str] = field(default_factory=dict)
    env_defaults: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model of a pair file: servers that run already, or servers to start.

    Attributes:
        name: Name of the model in the file.
        urls: Addresses of servers; none if they are to be started.
        model: Name of the model at its server. None: its only model.
        api_key: API key of the server, None without one. Never shown.
        api_key_variable: Environment variable that holds the key, if the file names one.
        api_key_default: Key if that variable is not set, None if it must be. Never shown.
        launch: How to start it, None if it runs already; see `launches`.
        replicas: Number of servers to start.
    """

    name: str
    urls: tuple[str, ...] = ()
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_variable: str | None = None
    api_key_default: str | None = field(default=None, repr=False)
    launch: Launch | None = None
    replicas: int = 1

    @property
    def is_started(self) -> bool:
        """Whether `dreamr up` starts something for it: servers, or a router in front of several."""
        if self.launch is None:
            return len(self.urls) > 1
        return self.launch.engine != "local"

    @property
    def launches(self) -> tuple[Launch, ...]:
        """How to start each of its servers, none if they run already.

        The devices are divided among the servers, in their order.
        """
        launch, count = self.launch, self.replicas
        if launch is None:
            return ()
        if not launch.devices:
            return (launch,) * count
        each = len(launch.devices) // count
        shares = (launch.devices[n * each : (n + 1) * each] for n in range(count))
        return tuple(replace(launch, devices=share) for share in shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEntry:
    """A pair, or a plain model, that clients name as their model.

    Attributes:
        name: Its name.
        target: Name of the target's model in the file, None without a target.
        draft: Name of the draft's model in the file, None without a draft.
        options: Options of its runs, without the models; see `PairFile.run_options`.
        given: Names of the options that the file gives.
    """

    name: str
    target: str | None = None
    draft: str | None = None
    options: RunOptions = field(default_factory=RunOptions)
    given: frozenset[str] = frozenset()

    @property
    def roles(self) -> Mapping[Role, str]:
        """Names of its models by role."""
        named: dict[Role, str | None] = {"target": self.target, "draft": self.draft}
        return {role: name for role, name in named.items() if name is not None}

    @property
    def given_options(self) -> dict[str, Any]:
        """Values of the options that the file gives."""
        return {name: getattr(self.options, name) for name in sorted(self.given)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFile:
    """Contents of a pair file.

    Attributes:
        name: Name of what `dreamr up` starts from it.
        path: The file, absolute.
        digest: SHA-256 of its bytes.
        models: Models by name.
        pairs: Pairs and plain models by the name that clients give; the first is the default.
        gateway: Options of the gateway.
        gateway_given: Names of the options of the gateway that the file gives.
    """

    name: str
    path: Path
    digest: str
    models: Mapping[str, ModelEntry]
    pairs: Mapping[str, PairEntry]
    gateway: ServeOptions = field(default_factory=ServeOptions)
    gateway_given: frozenset[str] = frozenset()

    @property
    def default(self) -> PairEntry:
        """The first pair."""
        return next(iter(self.pairs.values()))

    def models_of(self, pair: str) -> dict[Role, ModelEntry]:
        """Return the models of a pair by role."""
        return {role: self.models[name] for role, name in self.pairs[pair].roles.items()}

    def used_models(self) -> dict[str, ModelEntry]:
        """Return the models that a pair uses, by name, in the order of the file."""
        used = {name for pair in self.pairs.values() for name in pair.roles.values()}
        return {name: model for name, model in self.models.items() if name in used}

    def run_options(
        self, pair: str | None = None, addresses: Mapping[str, str] = _NONE
    ) -> RunOptions:
        """Return the options of a pair's runs, with its models.

        Args:
            pair: Name of the pair. None: the first.
            addresses: Addresses of started servers by the name of their model.

        Raises:
            PairNotFound: If the file has no such pair.
            NotRunning: If a model has to be started and has no address.
        """
        entry = self.pair(pair)
        values = entry.given_options
        for role in entry.roles:
            values |= self.model_options(entry.name, role, addresses)
        return replace(entry.options, **values)

    def pair(self, name: str | None = None) -> PairEntry:
        """Return a pair by name, the first if the name is None.

        Raises:
            PairNotFound: If the file has no such pair.
        """
        if name is None:
            return self.default
        if name not in self.pairs:
            raise PairNotFound(
                f"{self.path.name} has no pair {name!r}: {nearest(name, self.pairs)}"
            )
        return self.pairs[name]

    def model_options(
        self, pair: str, role: Role, addresses: Mapping[str, str] = _NONE
    ) -> dict[str, Any]:
        """Return the options of a run that choose and open one model of a pair, by name.

        Args:
            pair: Name of the pair.
            role: Role of the model.
            addresses: Addresses of started servers by the name of their model.

        Raises:
            NotRunning: If the model has to be started and has no address.
        """
        model = self.models_of(pair)[role]
        prefix = "" if role == "target" else "draft_"
        launch = model.launch
        if launch is not None and launch.engine == "local":
            return {
                role: launch.model,
                f"{prefix}revision": launch.revision,
                f"{prefix}device": _device(launch.devices),
                # Another one is a fault, which is reported beside the others.
                f"{prefix}dtype": launch.dtype if launch.dtype in get_args(DType) else "auto",
            }
        if not model.is_started:
            return {role: model.urls[0], f"{role}_model": model.model}
        if model.name not in addresses:
            of_file = f"the model {model.name!r} of {self.path.name}"
            if launch is None:
                raise NotRunning(
                    f"no router runs in front of the URLs of {of_file}: run dreamr up "
                    f"{short_path(self.path)} first"
                )
            raise NotRunning(
                f"{of_file} is not running: run dreamr up {short_path(self.path)} first"
            )
        return {role: addresses[model.name], f"{role}_model": model.model}


def _device(devices: tuple[int, ...] | None) -> str:
    if devices is None:
        return "auto"
    return f"cuda:{devices[0]}" if devices else "cpu"


def nearest(name: str, known: Collection[str]) -> str:
    """Return the end of a message about an unknown name: the nearest one, or all."""
    near = get_close_matches(name, known, 1)
    return f'did you mean "{near[0]}"?' if near else f"it has {', '.join(known)}"
