"""Several servers of a model are behind a router."""

from __future__ import annotations

import re

import pytest

from dreamr.serving.deploy import Format
from support.deployments import compose, files, of_kind, pods, value_of


def test_replicas_are_behind_a_router_that_keeps_sessions() -> None:
    (container,) = pods("replicas")["replicas-big-router"]["spec"]["containers"]
    arguments = container["args"]
    assert arguments[arguments.index("--policy") + 1] == "consistent_hash"
    backends = [argument for argument in arguments if argument.startswith("http://")]
    servers = of_kind("StatefulSet", "replicas")["replicas-big-servers"]["spec"]
    assert len(backends) == servers["replicas"] == 3
    assert all(f".{servers['serviceName']}:" in backend for backend in backends)


def test_replicas_of_compose_have_devices_of_their_own_behind_a_router() -> None:
    services = compose("replicas")["services"]
    for model, count in (("big", 3), ("tiny", 2)):
        servers = [f"{model}-{number}" for number in range(1, count + 1)]
        ports = [value_of("--port", services[server]["command"]) for server in servers]
        found = [one for one in services[model]["command"] if one.startswith("http://")]
        assert found == [f"http://{s}:{port}" for s, port in zip(servers, ports, strict=True)]
        assert value_of("--policy", services[model]["command"]) == "consistent_hash"
        healthy = {"condition": "service_healthy"}
        assert services[model]["depends_on"] == dict.fromkeys(servers, healthy)
    used = [
        services[f"big-{number}"]["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
        for number in (1, 2, 3)
    ]
    assert used == [["0", "1"], ["2", "3"], ["4", "5"]]
    assert services["tiny-2"]["depends_on"] == {"tiny-1": {"condition": "service_healthy"}}
    assert "depends_on" not in services["small"]


def test_replicas_of_systemd_have_ports_of_their_own_behind_a_router() -> None:
    units = {
        name.removeprefix("dreamr-replicas-").removesuffix(".service"): text
        for name, text in files("replicas", "systemd").items()
        if name.endswith(".service")
    }
    lines = {name: re.findall("ExecStart=(.*)", text)[0].split() for name, text in units.items()}
    ports = {name: value_of("--port", line) for name, line in lines.items() if "--port" in line}
    metrics = [value_of("--prometheus-port", lines[name]) for name in ("big", "small", "tiny")]
    taken = [*ports.values(), *metrics, "8500"]
    assert len(set(taken)) == len(taken)
    for model, count in (("big", 3), ("tiny", 2)):
        servers = [f"{model}-{number}" for number in range(1, count + 1)]
        found = [one for one in lines[model] if one.startswith("http://")]
        assert found == [f"http://127.0.0.1:{ports[server]}" for server in servers]
        for server in servers:
            assert f"dreamr-replicas-{server}.service" in re.findall("After=(.*)", units[model])[0]
        assert f"http://127.0.0.1:{ports[model]}/health" in units[model]
    devices = [re.findall("CUDA_VISIBLE_DEVICES=(.*)", units[f"big-{n}"])[0] for n in (1, 2, 3)]
    assert devices == ["0,1", "2,3", "4,5"]


@pytest.mark.parametrize("form", ["compose", "kubernetes", "systemd"])
def test_several_urls_are_behind_a_router(form: Format) -> None:
    written = files("replicas", form)
    made = next(text for name, text in written.items() if name.endswith("pair.yaml"))
    (url,) = re.findall("url: (.*small.*|http://127.0.0.1:8001/v1)", made)
    assert url.endswith(":8001/v1")
    words = "\n".join(written.values()).replace("- ", "").split()
    place = words.index("http://gpu2:8000")
    assert words[place - 1 : place + 2] == [
        "--worker-urls",
        "http://gpu2:8000",
        "http://gpu3:8000",
    ]
