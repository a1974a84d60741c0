"""Kubernetes manifests of engines: one server, or a router in front of several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dreamr.serving.deploy.images import ROUTER_IMAGE, contained, engine_image
from dreamr.serving.deploy.manifests import (
    deployment,
    http_probe,
    labels,
    manifest,
    secret_variables,
    service,
)
from dreamr.serving.deploy.mounts import mounted_weights
from dreamr.serving.deploy.plan import (
    STARTING_SECONDS,
    EngineService,
    Plan,
    RouterService,
    Service,
    secret_variable,
)
from dreamr.serving.launch.router import ROUTER_PROGRAM, router_arguments

_DISK = "200Gi"  # of downloaded weights
_MEMORY = "16Gi"  # shared by the processes of one engine


def engine_manifests(found: Plan, engine: EngineService) -> list[dict[str, Any]]:
    """Return the manifests of an engine, whose service has its name and port."""
    if engine.model.replicas == 1:
        made = deployment(found, engine.name, _pod(found, engine))
        made["spec"]["strategy"] = {"type": "Recreate"}  # a second one would need more GPUs
        return [_claim(found, engine), made, service(found, engine.name, engine.port)]
    base, count = _servers(found, engine), engine.model.replicas
    backends = [f"http://{base}-{number}.{base}:{engine.port}" for number in range(count)]
    command = (ROUTER_PROGRAM, *router_arguments(backends, "0.0.0.0", engine.port))
    return [*_replicas(found, engine), *_routed(found, engine, command)]


def router_manifests(found: Plan, router: RouterService) -> list[dict[str, Any]]:
    """Return the manifests of a router in front of servers that run elsewhere."""
    return _routed(found, router, router.command("0.0.0.0", lambda server: server.name))


def _routed(found: Plan, one: Service, command: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a router and its service, which has the name and port of the model."""
    component = f"{one.name}-router"
    return [
        deployment(found, component, _router(one.port, command)),
        _named(service(found, component, one.port), f"{found.name}-{one.name}"),
    ]


def _pod(found: Plan, engine: EngineService) -> dict[str, Any]:
    command = contained(replace(engine, taken=0.0))  # a pod has GPUs of its own
    program, *arguments = command.arguments
    secrets = {v: f"${{{v}}}" for v in map(secret_variable, arguments) if v is not None}
    container: dict[str, Any] = {
        "name": engine.name,
        "image": engine_image(engine),
        "command": [program],
        "args": [_argument(argument) for argument in arguments],
        "ports": [{"name": "http", "containerPort": engine.port}],
        "volumeMounts": [
            {"name": "weights", "mountPath": mounted_weights(engine)},
            {"name": "memory", "mountPath": "/dev/shm"},
        ],
        "startupProbe": http_probe("/health", STARTING_SECONDS),
        "livenessProbe": http_probe("/health"),
        "readinessProbe": http_probe("/health"),
    }
    if values := {**secrets, **command.environment}:
        container["env"] = secret_variables(found, values)
    if engine.gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(engine.gpus)}}
    claim = {"claimName": f"{found.name}-{engine.name}"}
    return {
        "terminationGracePeriodSeconds": 60,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a variable such as VLLM_PORT would be read as an option
        "containers": [container],
        "volumes": [
            {"name": "weights", "persistentVolumeClaim": claim},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": _MEMORY}},
        ],
    }


def _argument(text: str) -> str:
    """Return an argument in which Kubernetes replaces nothing but a secret."""
    variable = secret_variable(text)
    return text.replace("$(", "$$(") if variable is None else f"$({variable})"


def _claim(found: Plan, engine: EngineService) -> dict[str, Any]:
    return manifest("v1", "PersistentVolumeClaim", found, engine.name, spec=_CLAIMED)


_CLAIMED = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _DISK}}}


def _replicas(found: Plan, engine: EngineService) -> list[dict[str, Any]]:
    """Return servers with names of their own, and weights each."""
    selected = labels(found, engine.name)
    servers = service(found, engine.name, engine.port)
    servers["metadata"]["name"] = _servers(found, engine)
    # The router asks single servers, also those that are still starting.
    servers["spec"] |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    pod = _pod(found, engine)
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "weights"]
    spec = {
        "replicas": engine.model.replicas,
        "serviceName": _servers(found, engine),
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": selected},
        "template": {"metadata": {"labels": selected}, "spec": pod},
        "volumeClaimTemplates": [{"metadata": {"name": "weights"}, "spec": _CLAIMED}],
    }
    made = manifest("apps/v1", "StatefulSet", found, engine.name, spec=spec)
    return [_named(made, _servers(found, engine)), servers]


def _router(port: int, command: tuple[str, ...]) -> dict[str, Any]:
    program, *arguments = command
    container = {
        "name": "router",
        "image": ROUTER_IMAGE,
        "command": [program],
        "args": arguments,
        "ports": [{"name": "http", "containerPort": port}],
        "startupProbe": http_probe("/health", STARTING_SECONDS),
        "livenessProbe": http_probe("/health"),
        "readinessProbe": http_probe("/health"),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
    }


def _servers(found: Plan, engine: EngineService) -> str:
    return f"{found.name}-{engine.name}-servers"


def _named(made: dict[str, Any], name: str) -> dict[str, Any]:
    return {**made, "metadata": {**made["metadata"], "name": name}}
