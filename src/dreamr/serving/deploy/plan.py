"""What a pair file needs where it is deployed: engines, files, secrets. The formats follow it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dreamr._option_specs import BadOption
from dreamr.pairs import Launch, ModelEntry, PairFile
from dreamr.serving.launch.commands import engine_command
from dreamr.serving.launch.program import EngineCommand, may_share

FIRST_PORT = 8001  # of engines whose port the file leaves open
STARTING_SECONDS = 1800  # that an engine has to load its weights, downloads included
GATEWAY = "gateway"
REDIS_PASSWORD = "DREAMR_REDIS_PASSWORD"
_ANY = "0.0.0.0"
_RESERVED = (GATEWAY, "prometheus", "grafana")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineService:
    """A model that is started where the pair is deployed.

    Attributes:
        name: Name of the service, as host names are written.
        model: The model in the file.
        launch: How to start one of its servers.
        port: Port on which it listens.
        after: Name of the service that must have started before, as both use one device.
    """

    name: str
    model: ModelEntry
    launch: Launch
    port: int
    after: str | None = None

    @property
    def folder(self) -> Path | None:
        """Folder with the weights, None if they are on the hub."""
        path = Path(self.launch.model)
        return path if path.is_absolute() else None

    @property
    def gpus(self) -> int:
        """Number of GPUs of one of its servers; one if the file leaves it open."""
        return 1 if self.launch.devices is None else len(self.launch.devices)

    @property
    def key_variable(self) -> str | None:
        """Variable that holds the API key of its server, None without a key."""
        return key_variable(self.model)

    def command(self, model: str, host: str = _ANY, *, own_devices: bool = False) -> EngineCommand:
        """Return its command, in which secrets are variables: `${NAME}`.

        Args:
            model: Folder or id of the weights where it runs.
            host: Address on which it listens.
            own_devices: Whether the devices count from 0 where it runs.
        """
        launch = replace(self.launch, model=model, env={})
        if own_devices and launch.devices:
            launch = replace(launch, devices=tuple(range(len(launch.devices))))
        key = self.key_variable
        command = engine_command(launch, self.port, None if key is None else f"${{{key}}}")
        variables = dict(command.environment)
        if own_devices:
            variables.pop("CUDA_VISIBLE_DEVICES", None)
        named = self.launch.env_variables
        variables |= {n: t for n, t in self.launch.env.items() if n not in named}
        variables |= {name: f"${{{variable}}}" for name, variable in named.items()}
        arguments = _listening(command.with_secrets(), host)
        return EngineCommand(arguments, variables, command.install)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is deployed.

    Attributes:
        pair_file: The file.
        name: Name of the whole.
        engines: Models to start, in the order of the file.
    """

    pair_file: PairFile
    name: str
    engines: tuple[EngineService, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Variables that hold secrets, sorted."""
        named = {name for one in self.engines for name in one.launch.env_variables.values()}
        return tuple(sorted({*self.keys, *named}))

    @property
    def keys(self) -> tuple[str, ...]:
        """Variables of the gateway's secrets, sorted: API keys of models, a password of Redis."""
        found = {key_variable(model) for model in self.pair_file.used_models().values()}
        if self.pair_file.gateway.store is not None:
            found.add(REDIS_PASSWORD)
        return tuple(sorted(name for name in found if name is not None))

    @property
    def stop_seconds(self) -> int:
        """Seconds that the gateway needs to stop, with some to spare."""
        return int(self.pair_file.gateway.drain + self.pair_file.gateway.grace) + 15

    def engine(self, model: str) -> EngineService | None:
        """Return the service of a model, None if it runs elsewhere."""
        return next((one for one in self.engines if one.model.name == model), None)


def plan(pair_file: PairFile) -> Plan:
    """Return what is deployed from a pair file.

    Raises:
        BadOption: If a model runs in dreamr's own process or at several addresses, or two models
            have one service name.
    """
    engines: list[EngineService] = []
    models = pair_file.used_models()
    fixed = {m.launch.port for m in models.values() if m.launch} | {pair_file.gateway.port}
    free = (port for port in range(FIRST_PORT, 65536) if port not in fixed)
    for name, model in models.items():
        if len(model.urls) > 1:
            raise BadOption(
                f"model {name}: dreamr deploy takes one url of a model: name that of a router in "
                "front of its servers"
            )
        if model.launch is None:
            continue
        if not model.is_started:
            raise BadOption(
                f"model {name}: the engine local has no server to deploy; choose vllm, sglang or "
                "llama.cpp"
            )
        launch = model.launches[0]
        service = service_name(name)
        if service in _RESERVED or any(service == one.name for one in engines):
            raise BadOption(f"model {name}: the service {service} exists already: rename the model")
        sharing = (o for o in reversed(engines) if may_share(o.launch.devices, launch.devices))
        after = next((one.name for one in sharing), None)
        port = launch.port or next(free)
        engines.append(
            EngineService(name=service, model=model, launch=launch, port=port, after=after)
        )
    return Plan(pair_file=pair_file, name=service_name(pair_file.name), engines=tuple(engines))


def service_name(name: str) -> str:
    """Return a name as host names are written: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "model"


def key_variable(model: ModelEntry) -> str | None:
    """Return the variable that holds the API key of a model; one is made for a literal key."""
    if model.api_key_variable is not None or model.api_key is None:
        return model.api_key_variable
    return re.sub(r"[^A-Z0-9]+", "_", f"{model.name.upper()}_API_KEY")


def one_replica(found: Plan, where: str) -> None:
    """Check that no model has several servers.

    Raises:
        BadOption: If one has.
    """
    for engine in found.engines:
        if engine.model.replicas > 1:
            raise BadOption(
                f"model {engine.model.name}: {where} runs one server of each model, not "
                f"{engine.model.replicas}: deploy to kubernetes, or set replicas to 1"
            )


def shared_devices(found: Plan) -> Iterator[tuple[EngineService, EngineService]]:
    """Yield pairs of engines that the file puts on the same GPU."""
    for number, first in enumerate(found.engines):
        for second in found.engines[number + 1 :]:
            if _devices(first.model) & _devices(second.model):
                yield first, second


def _devices(model: ModelEntry) -> set[int]:
    """Return the GPUs of all servers of a model."""
    return set((model.launch and model.launch.devices) or ())


def secret_variable(text: str) -> str | None:
    """Return the variable that a whole value is, None if it is none."""
    found = re.fullmatch(r"\$\{(\w+)\}", text)
    return found and found[1]


def _listening(arguments: tuple[str, ...], host: str) -> tuple[str, ...]:
    place = arguments.index("--host") + 1
    return (*arguments[:place], host, *arguments[place + 1 :])
