"""The parts of a deployment agree: ports, addresses, secrets, volumes, order, devices."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import FORMATS, Format, deployment_files, write_files
from support.deployments import compose, files, of_kind, pair_file, pods, value_of

KEYS = {"BIG_KEY": "secret-of-big", "HF_TOKEN": "secret-of-hub", "QWEN_KEY": "secret-of-qwen"}


@pytest.mark.parametrize("name", ["servers", "started", "replicas"])
@pytest.mark.parametrize("form", FORMATS)
def test_no_secret_is_written(name: str, form: Format) -> None:
    if (name, form) == ("replicas", "ray"):
        pytest.skip("Ray Serve starts no router")
    assert not [text for text in files(name, form, **KEYS).values() if "secret-of" in text]


@pytest.mark.parametrize("name", ["servers", "started", "replicas"])
@pytest.mark.parametrize("form", ["compose", "kubernetes", "systemd"])
def test_the_gateway_reads_its_pair_file(name: str, form: Format, tmp_path: Path) -> None:
    source = pair_file(name)
    write_files(deployment_files(source, form), tmp_path, source)
    (path,) = tmp_path.rglob("pair.yaml")
    made = read_pair_file(path, environment=KEYS)
    assert list(made.pairs) == list(source.pairs)
    for pair in source.pairs:
        assert made.pairs[pair].given_options == source.pairs[pair].given_options
    assert made.gateway.max_running == source.gateway.max_running
    assert all(len(model.urls) == 1 for model in made.models.values())


@pytest.mark.parametrize("name", ["servers", "started", "replicas"])
def test_compose_addresses_are_those_of_its_services(name: str) -> None:
    services = compose(name)["services"]
    gateway = yaml.safe_load(files(name, "compose")["gateway/pair.yaml"])
    for model, values in gateway["models"].items():
        if model in services:
            command = services[model]["command"]
            port = command[command.index("--port") + 1]
            assert values["url"] == f"http://{model}:{port}/v1"
            assert f":{port}/health" in services[model]["healthcheck"]["test"][-1]
    inside = services["gateway"]["ports"][0].rpartition(":")[2]
    assert gateway["gateway"]["port"] == int(inside)
    scraped = yaml.safe_load(files(name, "compose")["monitoring/prometheus.yaml"])
    (job,) = scraped["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"gateway:{inside}"]


@pytest.mark.parametrize("name", ["servers", "started", "replicas"])
def test_compose_refers_to_what_exists(name: str) -> None:
    made, found = compose(name), files(name, "compose")
    for service in made["services"].values():
        assert set(service.get("depends_on", {})) <= set(made["services"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                there = [path for path in found if path.startswith(source[2:])]
                assert there or source == "./keys"  # which the user fills
            else:
                assert source in made["volumes"]
    named = set(re.findall(r"\$\{(\w+)", found["compose.yaml"]))
    assert named == set(re.findall(r"^(\w+)=", found[".env.example"], re.MULTILINE))


def test_engines_that_share_a_device_start_one_after_the_other() -> None:
    services = compose("started")["services"]
    assert services["small"]["depends_on"] == {"big": {"condition": "service_healthy"}}
    assert set(services["gateway"]["depends_on"]) == {"big", "small"}
    unit = files("started", "systemd")["dreamr-invoices-small.service"]
    assert "After=network-online.target dreamr-invoices-big.service\n" in unit


def test_no_gpu_is_used_beyond_its_memory() -> None:
    used: Counter[str] = Counter()
    for name, service in compose("started")["services"].items():
        if "deploy" not in service:
            continue
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        memory = service["command"][service["command"].index("--gpu-memory-utilization") + 1]
        for one in device["device_ids"]:
            used[one] += round(float(memory) * 100)
        assert (name, device["device_ids"]) in [("big", ["0", "1"]), ("small", ["1"])]
    assert max(used.values()) <= 100


def test_sglang_beside_another_server_takes_its_share_of_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text(
        "name: p\n"
        "models:\n"
        "  big: {launch: {engine: sglang, model: a/b, devices: [0], memory: 0.6}}\n"
        "  small: {launch: {engine: sglang, model: a/c, devices: [0], memory: 0.25}}\n"
        "pairs: {dreamr: {target: big, draft: small}}\n"
    )
    source = read_pair_file(path)
    services = yaml.safe_load(deployment_files(source, "compose")["compose.yaml"])["services"]
    assert value_of("--mem-fraction-static", services["big"]["command"]) == "0.6"
    assert value_of("--mem-fraction-static", services["small"]["command"]) == "0.625"
    unit = deployment_files(source, "systemd")["dreamr-p-small.service"]
    assert "--mem-fraction-static 0.625" in unit
    # Each pod has a GPU of its own.
    texts = "".join(deployment_files(source, "kubernetes").values())
    assert "0.625" not in texts
    assert "'0.25'" in texts


@pytest.mark.parametrize("name", ["servers", "started", "replicas"])
def test_services_of_kubernetes_reach_their_pods(name: str) -> None:
    found = pods(name)
    for service in of_kind("Service", name).values():
        selected = [
            pod
            for pod in found.values()
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert len(selected) == 1
        (container,) = selected[0]["spec"]["containers"]
        (port,) = service["spec"]["ports"]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        assert ports[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("name", ["started", "replicas"])
def test_addresses_in_kubernetes_are_those_of_its_services(name: str) -> None:
    services = of_kind("Service", name)
    ports = {key: one["spec"]["ports"][0]["port"] for key, one in services.items()}
    gateway = yaml.safe_load(files(name, "kubernetes")["config/pair.yaml"])
    started = {n for n, model in pair_file(name).models.items() if model.launch}
    assert started
    for model in started:
        host, port = gateway["models"][model]["url"].split("/")[2].split(":")
        assert ports[host] == int(port)


@pytest.mark.parametrize("name", ["servers", "started", "replicas"])
def test_kubernetes_refers_to_what_exists(name: str) -> None:
    secrets = of_kind("Secret", name)
    claims = set(of_kind("PersistentVolumeClaim", name))
    kustomization = yaml.safe_load(files(name, "kubernetes")["kustomization.yaml"])
    (config,) = kustomization["configMapGenerator"]
    written = files(name, "kubernetes")
    assert set(kustomization["resources"]) | set(config["files"]) <= set(written)
    for pod in pods(name).values():
        for volume in pod["spec"].get("volumes", []):
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or claim["claimName"] in claims
            assert volume.get("configMap", config)["name"] == config["name"]
        for container in pod["spec"]["containers"]:
            for variable in container.get("env", []):
                key = variable.get("valueFrom", {}).get("secretKeyRef")
                assert key is None or key["key"] in secrets[key["name"]]["stringData"]
    for scaler in of_kind("HorizontalPodAutoscaler", name).values():
        assert scaler["spec"]["scaleTargetRef"]["name"] in pods(name)


def test_the_gateway_has_time_to_stop() -> None:
    needed = pair_file("started").gateway.drain + pair_file("started").gateway.grace
    pod = pods("started")["invoices-gateway"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > needed
    assert int(compose("started")["services"]["gateway"]["stop_grace_period"][:-1]) > needed
    unit = files("started", "systemd")["dreamr-invoices-gateway.service"]
    assert int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]) > needed


def test_ray_serve_leaves_limits_to_the_gateway() -> None:
    options = pair_file("servers").gateway
    config = yaml.safe_load(files("servers", "ray")["serve.yaml"])
    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    assert deployment["max_ongoing_requests"] > options.max_running + options.max_waiting
    assert deployment["graceful_shutdown_timeout_s"] > options.deadline
    assert config["http_options"]["request_timeout_s"] > options.deadline
