"""What a pair file needs where it is deployed: engines, files, secrets. The formats follow it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from dreamr._api_keys import TRANSCRIBER_KEY
from dreamr._cuda_order import CUDA_ORDER
from dreamr._option_specs import BadOption
from dreamr.engines import is_served
from dreamr.engines.address import parse_address
from dreamr.pairs import Launch, ModelEntry, PairFile
from dreamr.serving.launch.commands import engine_command, with_projector
from dreamr.serving.launch.program import VISIBLE, EngineCommand, may_share, memory_taken
from dreamr.serving.launch.router import ROUTER_PROGRAM, check_key, router_arguments

FIRST_PORT = 8001  # of engines whose port the file leaves open
STARTING_SECONDS = 1800  # that an engine has to load its weights, downloads included
GATEWAY = "gateway"
REDIS_PASSWORD = "DREAMR_REDIS_PASSWORD"
DEVICE_VARIABLES = (VISIBLE, *CUDA_ORDER)
OPTIONAL = (REDIS_PASSWORD, TRANSCRIBER_KEY)  # secrets that can be empty
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
        taken: Share of its devices' memory that services hold when it starts.
    """

    name: str
    model: ModelEntry
    launch: Launch
    port: int
    after: str | None = None
    taken: float = 0.0

    @property
    def weights(self) -> Path | None:
        """Folder or file with the weights, None if they are on the hub."""
        path = Path(self.launch.model)
        return path if path.is_absolute() else None

    @property
    def is_file(self) -> bool:
        """Whether its weights are a file, in the format GGUF."""
        local = self.weights is not None
        return local and (self.launch.engine == "llama.cpp" or self.launch.model.endswith(".gguf"))

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
        secret = None if key is None else f"${{{key}}}"
        command = engine_command(launch, self.port, secret, self.taken)
        variables = dict(command.environment)
        if own_devices:
            variables = {n: t for n, t in variables.items() if n not in DEVICE_VARIABLES}
        named = self.launch.env_variables
        variables |= {n: t for n, t in self.launch.env.items() if n not in named}
        variables |= {name: f"${{{variable}}}" for name, variable in named.items()}
        arguments = _listening(command.with_secrets(), host)
        return EngineCommand(arguments, variables, command.install)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterService:
    """A router in front of several servers of a model.

    Attributes:
        name: Name of the service, as host names are written.
        model: The model in the file.
        port: Port on which it listens.
        servers: Its servers; none if they run elsewhere, at the urls of the model.
        metrics_port: Port of its metrics, other than those of other routers.
    """

    name: str
    model: ModelEntry
    port: int
    servers: tuple[EngineService, ...] = ()
    metrics_port: int

    def command(self, host: str, address: Callable[[EngineService], str]) -> tuple[str, ...]:
        """Return its command.

        Args:
            host: Address on which it listens.
            address: Returns the host and port of one of its servers.
        """
        backends = [f"http://{address(one)}" for one in self.servers]
        backends = backends or [parse_address(url).root for url in self.model.urls]
        return ROUTER_PROGRAM, *router_arguments(backends, host, self.port, self.metrics_port)


Service: TypeAlias = EngineService | RouterService


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is deployed.

    Attributes:
        pair_file: The file.
        name: Name of the whole.
        engines: Models to start, in the order of the file; after `split`, their servers.
        routers: Routers in front of several servers of a model.
    """

    pair_file: PairFile
    name: str
    engines: tuple[EngineService, ...]
    routers: tuple[RouterService, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        """All engines, and then all routers."""
        return (*self.engines, *self.routers)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Variables that hold secrets, sorted."""
        named = {name for one in self.engines for name in one.launch.env_variables.values()}
        return tuple(sorted({*self.keys, *named}))

    @property
    def keys(self) -> tuple[str, ...]:
        """Variables of the gateway's secrets, sorted: API keys of servers, a password of Redis."""
        found = {key_variable(model) for model in self.pair_file.used_models().values()}
        if any(is_served(transcriber) for _, transcriber in _transcribers(self.pair_file)):
            found.add(TRANSCRIBER_KEY)
        if self.pair_file.gateway.store is not None:
            found.add(REDIS_PASSWORD)
        return tuple(sorted(name for name in found if name is not None))

    @property
    def defaults(self) -> Mapping[str, str]:
        """Values of the secrets that need not be set, by variable.

        One that is used without a default must be set. Of several defaults, the first one counts.
        """
        uses = [*_uses(self.pair_file)]
        needed = {variable for variable, default in uses if default is None}
        found = dict.fromkeys(OPTIONAL, "")
        for variable, default in uses:
            found.setdefault(variable, default or "")
        return {name: found[name] for name in self.secrets if name in found.keys() - needed}

    @property
    def stop_seconds(self) -> int:
        """Seconds that the gateway needs to stop, with some to spare."""
        return int(self.pair_file.gateway.drain + self.pair_file.gateway.grace) + 15

    def service(self, model: str) -> Service | None:
        """Return the service that has the address of a model, None if it runs elsewhere."""
        # The router is the last of the services of a model.
        return next((one for one in reversed(self.services) if one.model.name == model), None)


class _Chosen:
    """Names and ports of services, each given once."""

    def __init__(self, pair_file: PairFile, taken: Iterable[int] = ()) -> None:
        models = pair_file.used_models().values()
        fixed = {model.launch.port for model in models if model.launch}
        fixed |= {pair_file.gateway.port, *taken}
        self._free = (port for port in range(FIRST_PORT, 65536) if port not in fixed)
        self._names = set(_RESERVED)

    def port(self) -> int:
        """Return a port that no service has."""
        return next(self._free)

    def name(self, model: str, text: str) -> str:
        """Return the name of a service.

        Raises:
            BadOption: If another one has it.
        """
        name = service_name(text)
        if name in self._names:
            raise BadOption(f"model {model}: the service {name} exists already: rename the model")
        self._names.add(name)
        return name


def plan(pair_file: PairFile) -> Plan:
    """Return what is deployed from a pair file.

    Raises:
        BadOption: If a model runs in dreamr's own process, two models have one service name, or a
            router does not pass on the key of a model.
    """
    engines: list[EngineService] = []
    routers: list[RouterService] = []
    chosen = _Chosen(pair_file)
    for model in pair_file.used_models().values():
        if model.launch is None:
            if len(model.urls) > 1:
                routers.append(_router(model, chosen))
            continue
        if not model.is_started:
            raise BadOption(
                f"model {model.name}: the engine local has no server to deploy; choose vllm, "
                "sglang or llama.cpp"
            )
        if model.replicas > 1:
            check_key(model)
        port = model.launch.port or chosen.port()
        name = chosen.name(model.name, model.name)
        engines.append(_engine(name, model, model.launches[0], port, engines))
    name = service_name(pair_file.name)
    return Plan(pair_file=pair_file, name=name, engines=tuple(engines), routers=tuple(routers))


def split(found: Plan) -> Plan:
    """Return a plan in which several servers of a model are services with a router in front.

    The servers of `big` are `big-1`, `big-2`; the router has its name and port.

    Raises:
        BadOption: If two services have the same name.
    """
    before = found.services
    taken = (*(one.port for one in before), *(one.metrics_port for one in found.routers))
    chosen = _Chosen(found.pair_file, taken)
    for one in before:
        chosen.name(one.model.name, one.name)
    engines: list[EngineService] = []
    routers = list(found.routers)
    for engine in found.engines:
        model, launches = engine.model, engine.model.launches
        if len(launches) == 1:
            engines.append(_engine(engine.name, model, launches[0], engine.port, engines))
            continue
        servers: list[EngineService] = []
        for number, launch in enumerate(launches, 1):
            name = chosen.name(model.name, f"{engine.name}-{number}")
            servers.append(_engine(name, model, launch, chosen.port(), [*engines, *servers]))
        engines += servers
        routers.append(
            RouterService(
                name=engine.name, model=model, port=engine.port, servers=tuple(servers),
                metrics_port=chosen.port(),
            )
        )  # fmt: skip
    return replace(found, engines=tuple(engines), routers=tuple(routers))


def _router(model: ModelEntry, chosen: _Chosen) -> RouterService:
    name = chosen.name(model.name, model.name)
    return RouterService(name=name, model=model, port=chosen.port(), metrics_port=chosen.port())


def _engine(
    name: str, model: ModelEntry, launch: Launch, port: int, before: Sequence[EngineService]
) -> EngineService:
    """Return the service of a server, which starts after another one that uses its device."""
    sharing = (one for one in reversed(before) if may_share(one.launch.devices, launch.devices))
    after = next((one.name for one in sharing), None)
    taken = memory_taken((one.launch for one in before), launch)
    launch = with_projector(launch)
    return EngineService(name=name, model=model, launch=launch, port=port, after=after, taken=taken)


def service_name(name: str) -> str:
    """Return a name as host names are written: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "model"


def key_variable(model: ModelEntry) -> str | None:
    """Return the variable that holds the API key of a model; one is made for a literal key."""
    if model.api_key_variable is not None or model.api_key is None:
        return model.api_key_variable
    return re.sub(r"[^A-Z0-9]+", "_", f"{model.name.upper()}_API_KEY")


def _uses(pair_file: PairFile) -> Iterator[tuple[str, str | None]]:
    """Yield the variables of secrets that models name, each with the default of that place."""
    for model in pair_file.used_models().values():
        if (key := key_variable(model)) is not None:
            yield key, model.api_key_default
        if model.launch is not None:
            defaults = model.launch.env_defaults
            for name, variable in model.launch.env_variables.items():
                yield variable, defaults.get(name)


def shared_devices(found: Plan) -> Iterator[tuple[EngineService, EngineService]]:
    """Yield pairs of engines that the file puts on the same GPU."""
    for number, first in enumerate(found.engines):
        for second in found.engines[number + 1 :]:
            if _devices(first.model) & _devices(second.model):
                yield first, second


def _devices(model: ModelEntry) -> set[int]:
    """Return the GPUs of all servers of a model."""
    return set((model.launch and model.launch.devices) or ())


def own_transcribers(pair_file: PairFile) -> Iterator[tuple[str, str]]:
    """Return pairs that transcribe without a server, by name, each with its transcriber."""
    return (found for found in _transcribers(pair_file) if not is_served(found[1]))


def _transcribers(pair_file: PairFile) -> Iterator[tuple[str, str]]:
    for entry in pair_file.pairs.values():
        if (transcriber := entry.given_options.get("transcriber")) is not None:
            yield entry.name, transcriber


def secret_lines(found: Plan) -> Iterator[str]:
    """Yield the lines of an environment file in which the values of secrets are left open."""
    defaults = found.defaults
    for name in found.secrets:
        if defaults.get(name):
            yield "# Remove the # to replace the default of the pair file:"
            yield f"#{name}="
            continue
        if name in defaults:
            yield "# Empty if there is none:"
        yield f"{name}="


def secret_variable(text: str) -> str | None:
    """Return the variable that a whole value is, None if it is none."""
    found = re.fullmatch(r"\$\{(\w+)\}", text)
    return found and found[1]


def _listening(arguments: tuple[str, ...], host: str) -> tuple[str, ...]:
    place = arguments.index("--host") + 1
    return (*arguments[:place], host, *arguments[place + 1 :])
