"""Kubernetes: plain manifests, with a kustomization that names them."""

from __future__ import annotations

from typing import Any

from dreamr._option_specs import BadOption
from dreamr.serving.deploy.engine_manifests import engine_manifests, router_manifests
from dreamr.serving.deploy.gateway_file import copied_texts, dump, dump_all, gateway_file
from dreamr.serving.deploy.images import (
    CONFIG,
    GATEWAY_IMAGE,
    KEYS,
    USER,
    check_transcribers,
)
from dreamr.serving.deploy.manifests import (
    deployment,
    http_probe,
    labels,
    manifest,
    secret_variables,
    service,
)
from dreamr.serving.deploy.plan import GATEWAY, STARTING_SECONDS, Plan, RouterService, Service

_PORT = 8500
_LONGEST_NAME = 63  # characters of a host name
# Characters of the name of a StatefulSet: a label of its pods adds a dash and a hash of ten, and
# has 63 at most (https://github.com/kubernetes/kubernetes/issues/64023).
_LONGEST_SET = 52
_MOST_REPLICAS = 8
_TARGET_LOAD = 0.6  # of the requests that a gateway runs at the same time, before another starts
_METRIC = "dreamr_requests"
_SECONDS_OF_AFFINITY = 10800


def files(found: Plan) -> dict[str, str]:
    """Return the text of each file by its path.

    Raises:
        BadOption: If a name is not one that Kubernetes takes, a pair transcribes without a server,
            or a file cannot be copied.
    """
    _check_names(found)
    check_transcribers(found)
    written = {
        "gateway.yaml": dump_all(_gateway(found)),
        "config/pair.yaml": gateway_file(found, lambda e: _address(found, e), _PORT, keys=KEYS),
        "monitoring.yaml": dump(_monitor(found)),
        "prometheus-adapter-values.yaml": dump(
            _ADAPTER, "For the Helm chart prometheus-adapter: the metric of the autoscaler."
        ),
    }
    for engine in found.engines:
        written[f"{engine.name}.yaml"] = dump_all(engine_manifests(found, engine))
    for router in found.routers:
        written[f"{router.name}.yaml"] = dump_all(router_manifests(found, router))
    copied = {f"config/{name}": text for name, text in copied_texts(found.pair_file).items()}
    written |= copied
    written["secrets.yaml.example"] = dump(
        _secret(found), "kubectl create secret does the same; keep values out of version control."
    )
    config = {"name": f"{found.name}-config", "files": ["config/pair.yaml", *copied]}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [
            *(f"{one.name}.yaml" for one in found.services),
            "gateway.yaml",
            "monitoring.yaml",
        ],
        "configMapGenerator": [config],
    }
    written["kustomization.yaml"] = dump(
        kustomization, "Written by dreamr deploy kubernetes: kubectl apply -k ."
    )
    return written


def _check_names(found: Plan) -> None:
    """Check that the names of services are names of hosts.

    Raises:
        BadOption: If Kubernetes would refuse one of them.
    """
    if not found.name[0].isalpha():
        raise BadOption(
            f"the name {found.name} does not begin with a letter, as Kubernetes demands: change "
            "'name' of the file"
        )
    for one in found.services:
        name, most = f"{found.name}-{one.name}", _LONGEST_NAME
        if isinstance(one, RouterService):
            name += "-router"
        elif one.model.replicas > 1:
            name, most = f"{name}-servers", _LONGEST_SET
        if len(name) > most:
            raise BadOption(
                f"model {one.model.name}: {name} has {len(name)} characters, and Kubernetes takes "
                f"{most}: shorten the model's name, or 'name' of the file"
            )


def _address(found: Plan, one: Service) -> str:
    return f"{found.name}-{one.name}:{one.port}"


def _gateway(found: Plan) -> list[dict[str, Any]]:
    name = f"{found.name}-{GATEWAY}"
    selected = labels(found, GATEWAY)
    gateway = service(found, GATEWAY, _PORT)
    if found.pair_file.gateway.store is None:
        # Files, and responses that requests refer to, are kept by one gateway.
        gateway["spec"]["sessionAffinity"] = "ClientIP"
        client = {"clientIP": {"timeoutSeconds": _SECONDS_OF_AFFINITY}}
        gateway["spec"]["sessionAffinityConfig"] = client
    metric = {
        "metric": {"name": _METRIC},
        "target": {
            "type": "AverageValue",
            "averageValue": str(max(1, round(found.pair_file.gateway.max_running * _TARGET_LOAD))),
        },
    }
    scaler = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 2,
        "maxReplicas": _MOST_REPLICAS,
        "metrics": [{"type": "Pods", "pods": metric}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": selected}}
    return [
        _gateway_pods(found),
        gateway,
        manifest("autoscaling/v2", "HorizontalPodAutoscaler", found, GATEWAY, spec=scaler),
        manifest("policy/v1", "PodDisruptionBudget", found, GATEWAY, spec=budget),
    ]


def _gateway_pods(found: Plan) -> dict[str, Any]:
    gateway = found.pair_file.gateway
    mounts = [
        {"name": "config", "mountPath": CONFIG, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": f"{found.name}-config"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if gateway.keys_file is not None:
        mounts.append({"name": "keys", "mountPath": KEYS, "readOnly": True})
        volumes.append({"name": "keys", "secret": {"secretName": f"{found.name}-client-keys"}})
    container: dict[str, Any] = {
        "name": GATEWAY,
        "image": GATEWAY_IMAGE,
        "args": ["serve", "--pair", f"{CONFIG}/pair.yaml", "--log-format", "json"],
        "ports": [{"name": "http", "containerPort": _PORT}],
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "4Gi"}},
        # Neither path answers while the models are awaited.
        "startupProbe": http_probe("/health", STARTING_SECONDS),
        "livenessProbe": http_probe("/health"),
        "readinessProbe": http_probe("/ready"),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if found.keys:
        container["env"] = secret_variables(found, {name: f"${{{name}}}" for name in found.keys})
    pod = {
        "terminationGracePeriodSeconds": found.stop_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    made = deployment(found, GATEWAY, pod)
    del made["spec"]["replicas"]  # the autoscaler's
    made["spec"]["strategy"] = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    return made


def _monitor(found: Plan) -> dict[str, Any]:
    spec = {
        "selector": {"matchLabels": labels(found, GATEWAY)},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": "10s"}],
    }
    return manifest("monitoring.coreos.com/v1", "ServiceMonitor", found, GATEWAY, spec=spec)


def _secret(found: Plan) -> dict[str, Any]:
    values = {"stringData": dict.fromkeys(found.secrets, "") | dict(found.defaults)}
    made = manifest("v1", "Secret", found, "secrets", **values)
    made["type"] = "Opaque"
    return made


_LABELS = '{namespace!="",pod!=""}'
_ADAPTER = {
    "rules": {
        "custom": [
            {
                "seriesQuery": f"dreamr:num_requests_running{_LABELS}",
                "resources": {
                    "overrides": {
                        "namespace": {"resource": "namespace"},
                        "pod": {"resource": "pod"},
                    }
                },
                "name": {"as": _METRIC},
                "metricsQuery": (
                    "sum(dreamr:num_requests_running{<<.LabelMatchers>>} + "
                    "dreamr:num_requests_waiting{<<.LabelMatchers>>}) by (<<.GroupBy>>)"
                ),
            }
        ]
    }
}
