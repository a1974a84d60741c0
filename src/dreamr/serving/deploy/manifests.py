"""Parts of Kubernetes manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamr.serving.deploy.plan import Plan, secret_variable

_PERIOD = 10  # seconds between two probes


def labels(found: Plan, component: str) -> dict[str, str]:
    """Return the labels of a component."""
    return {
        "app.kubernetes.io/name": "dreamr",
        "app.kubernetes.io/instance": found.name,
        "app.kubernetes.io/component": component,
    }


def manifest(version: str, kind: str, found: Plan, component: str, **more: Any) -> dict[str, Any]:
    """Return a manifest with its name and labels."""
    named = {"name": f"{found.name}-{component}", "labels": labels(found, component)}
    return {"apiVersion": version, "kind": kind, "metadata": named, **more}


def service(found: Plan, component: str, port: int) -> dict[str, Any]:
    """Return the service of a component, whose port is named `http`."""
    spec: dict[str, Any] = {
        "selector": labels(found, component),
        "ports": [{"name": "http", "port": port, "targetPort": "http"}],
    }
    return manifest("v1", "Service", found, component, spec=spec)


def deployment(found: Plan, component: str, pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment of one pod."""
    selected = labels(found, component)
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": selected},
        "template": {"metadata": {"labels": selected}, "spec": dict(pod)},
    }
    return manifest("apps/v1", "Deployment", found, component, spec=spec)


def http_probe(path: str, start: int | None = None) -> dict[str, Any]:
    """Return a probe of the port `http`.

    Args:
        path: Path that must have a status of 200 to 399.
        start: Seconds until a start counts as failed. None: three probes.
    """
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": _PERIOD,
        "timeoutSeconds": 5,
        "failureThreshold": 3 if start is None else start // _PERIOD,
    }


def secret_variables(found: Plan, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return environment variables; those that are a secret refer to it."""
    env: list[dict[str, Any]] = []
    for name, text in values.items():
        variable = secret_variable(text)
        if variable is None:
            env.append({"name": name, "value": text.replace("$(", "$$(")})
            continue
        key = {"name": f"{found.name}-secrets", "key": variable}
        env.append({"name": name, "valueFrom": {"secretKeyRef": key}})
    return env
