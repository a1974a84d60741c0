"""Docker Compose: engines, the gateway, and monitoring on demand."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any

from dreamr.serving.deploy.gateway_file import copied_texts, dump, gateway_file
from dreamr.serving.deploy.images import (
    CONFIG,
    GATEWAY_IMAGE,
    GRAFANA_IMAGE,
    KEYS,
    PROMETHEUS_IMAGE,
    ROUTER_IMAGE,
    USER,
    check_transcribers,
    contained,
    engine_image,
)
from dreamr.serving.deploy.mounts import HUB_CACHE, bind_mounts, named_paths
from dreamr.serving.deploy.plan import (
    GATEWAY,
    STARTING_SECONDS,
    EngineService,
    Plan,
    RouterService,
    Service,
    secret_lines,
    secret_variable,
    split,
)
from dreamr.serving.launch.router import ROUTER_ENVIRONMENT
from dreamr.serving.options import ServeOptions

SECRETS = ".env"  # which Compose reads by itself
_PORT = 8500  # of the gateway in its container
# The gateway's image has no curl.
_READY = f"from urllib.request import urlopen; urlopen('http://127.0.0.1:{_PORT}/ready', timeout=5)"
_LOGS = {"driver": "json-file", "options": {"max-size": "50m", "max-file": "3"}}


def files(found: Plan) -> dict[str, str]:
    """Return the text of each file by its path.

    Raises:
        BadOption: If two services have the same name, a pair transcribes without a server, or a
            file cannot be copied.
    """
    check_transcribers(found)
    found = split(found)
    services: dict[str, Any] = {engine.name: _engine(found, engine) for engine in found.engines}
    services |= {router.name: _router(found, router) for router in found.routers}
    services |= {GATEWAY: _gateway(found), **_monitoring()}
    compose = {
        "name": found.name,
        "services": services,
        "volumes": {"weights": {}, "prometheus": {}, "grafana": {}},
    }
    written = {
        "compose.yaml": dump(compose, "Written by dreamr deploy compose: docker compose up -d"),
        "gateway/pair.yaml": gateway_file(found, lambda e: f"{e.name}:{e.port}", _PORT, keys=KEYS),
        "monitoring/prometheus.yaml": dump(_scraped()),
        "monitoring/datasource.yaml": dump(_SOURCE),
        "monitoring/dashboards.yaml": dump(_DASHBOARDS),
        "monitoring/dashboards/dreamr.json": grafana_dashboard(),
        f"{SECRETS}.example": secrets_example(found),
    }
    copied = copied_texts(found.pair_file)
    return written | {f"gateway/{name}": text for name, text in copied.items()}


def secrets_example(found: Plan) -> str:
    """Return an environment file in which the values of all secrets are left open."""
    lines = [f"# Copy to {SECRETS}, fill in, and keep it out of version control."]
    return "\n".join([*lines, *secret_lines(found)]) + "\n"


def grafana_dashboard() -> str:
    """Return Grafana's dashboard of the gateway."""
    data = resources.files("dreamr.serving.deploy").joinpath("data/grafana.json")
    return data.read_text(encoding="utf-8")


def _engine(found: Plan, engine: EngineService) -> dict[str, Any]:
    others = [path for path in named_paths(engine) if path.exists()]
    command = contained(engine, others)
    program, *arguments = command.arguments
    volumes = bind_mounts(engine, others)
    if engine.weights is None:
        volumes.insert(0, f"weights:{HUB_CACHE}")
    service: dict[str, Any] = {
        "image": engine_image(engine),
        "entrypoint": [program],
        "command": [_value(found, argument) for argument in arguments],
        "volumes": volumes,
        "ipc": "host",  # processes of one engine share tensors in memory
        "restart": "unless-stopped",
        "stop_grace_period": "60s",
        "logging": _LOGS,
        "healthcheck": _health(_answered(engine)),
    }
    if command.environment:
        service["environment"] = {n: _value(found, text) for n, text in command.environment.items()}
    if engine.gpus:
        device: dict[str, Any] = {"driver": "nvidia", "capabilities": ["gpu"]}
        devices = engine.launch.devices
        device |= {"count": "all"} if devices is None else {"device_ids": [*map(str, devices)]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    if engine.after is not None:
        service["depends_on"] = {engine.after: {"condition": "service_healthy"}}
    return service


def _gateway(found: Plan) -> dict[str, Any]:
    gateway = found.pair_file.gateway
    volumes = [f"./gateway:{CONFIG}:ro"]
    if gateway.keys_file is not None:
        volumes.append(f"./keys:{KEYS}:ro")
    service: dict[str, Any] = {
        "image": GATEWAY_IMAGE,
        "command": ["serve", "--pair", f"{CONFIG}/pair.yaml"],
        "ports": [_published(gateway)],
        "volumes": volumes,
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        "stop_grace_period": f"{found.stop_seconds}s",
        "logging": _LOGS,
        "healthcheck": _health(["python3", "-c", _READY]),
    }
    if found.keys:
        service["environment"] = {name: _secret(found, name) for name in found.keys}
    if found.services:
        service["depends_on"] = _healthy(found.services)
    return service


def _router(found: Plan, router: RouterService) -> dict[str, Any]:
    program, *arguments = router.command("0.0.0.0", lambda server: f"{server.name}:{server.port}")
    service: dict[str, Any] = {
        "image": ROUTER_IMAGE,
        "entrypoint": [program],
        "command": [_value(found, argument) for argument in arguments],
        "environment": {**ROUTER_ENVIRONMENT},
        "restart": "unless-stopped",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": _LOGS,
        "healthcheck": _health(_answered(router)),
    }
    if router.servers:
        service["depends_on"] = _healthy(router.servers)
    return service


def _healthy(services: Iterable[Service]) -> dict[str, Any]:
    """Return a dependence on services that are healthy."""
    return {one.name: {"condition": "service_healthy"} for one in services}


def _published(gateway: ServeOptions) -> str:
    """Return the port of the gateway on the address that its file names, loopback by default."""
    host = "127.0.0.1" if gateway.host == "localhost" else gateway.host  # Docker takes addresses
    return f"{f'[{host}]' if ':' in host else host}:{gateway.port}:{_PORT}"


def _answered(one: Service) -> list[str]:
    """Return a command that fails unless a service is healthy; its image must have curl."""
    return ["curl", "-fsS", f"http://127.0.0.1:{one.port}/health"]


def _health(command: list[str]) -> dict[str, Any]:
    return {
        "test": ["CMD", *command],
        "start_period": f"{STARTING_SECONDS}s",
        "interval": "10s",
        "timeout": "10s",
        "retries": 6,
    }


def _value(found: Plan, text: str) -> str:
    """Return a text in which Compose replaces nothing but a secret."""
    variable = secret_variable(text)
    return text.replace("$", "$$") if variable is None else _secret(found, variable)


def _secret(found: Plan, variable: str) -> str:
    """Return a reference to a secret, which must be set unless it has a default."""
    default = found.defaults.get(variable)
    if default is None:
        return f"${{{variable}:?set it in {SECRETS}}}"
    return f"${{{variable}:-{default.replace('$', '$$')}}}"


def _monitoring() -> dict[str, Any]:
    common = {"profiles": ["monitoring"], "restart": "unless-stopped", "logging": _LOGS}
    grafana = "/etc/grafana/provisioning"
    return {
        "prometheus": {
            "image": PROMETHEUS_IMAGE,
            "volumes": [
                "./monitoring/prometheus.yaml:/etc/prometheus/prometheus.yml:ro",
                "prometheus:/prometheus",
            ],
            **common,
        },
        "grafana": {
            "image": GRAFANA_IMAGE,
            "ports": ["127.0.0.1:3000:3000"],
            "volumes": [
                f"./monitoring/datasource.yaml:{grafana}/datasources/dreamr.yaml:ro",
                f"./monitoring/dashboards.yaml:{grafana}/dashboards/dreamr.yaml:ro",
                "./monitoring/dashboards:/var/lib/dashboards:ro",
                "grafana:/var/lib/grafana",
            ],
            "depends_on": {"prometheus": {"condition": "service_started"}},
            **common,
        },
    }


def _scraped() -> dict[str, Any]:
    target = {"targets": [f"{GATEWAY}:{_PORT}"]}
    job = {"job_name": "dreamr", "scrape_interval": "10s", "static_configs": [target]}
    return {"scrape_configs": [job]}


_SOURCE = {
    "apiVersion": 1,
    "datasources": [
        {
            "name": "Prometheus",
            "type": "prometheus",
            "access": "proxy",
            "url": "http://prometheus:9090",
            "isDefault": True,
        }
    ],
}
_DASHBOARDS = {
    "apiVersion": 1,
    "providers": [
        {"name": "dreamr", "type": "file", "options": {"path": "/var/lib/dashboards"}},
    ],
}
