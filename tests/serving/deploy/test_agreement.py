"""The parts of a deployment agree: ports, addresses, secrets, volumes, order, devices."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamr._option_specs import BadOption
from dreamr.pairs import PairFile, read_pair_file
from dreamr.serving.deploy import FORMATS, Format, deployment_files, warnings, write_files

PAIRS = Path(__file__).parent / "pairs"
KEYS = {"BIG_KEY": "secret-of-big", "HF_TOKEN": "secret-of-hub", "QWEN_KEY": "secret-of-qwen"}


def pair_file(name: str, **environment: str) -> PairFile:
    path = PAIRS / f"{name}.yaml"
    return read_pair_file(path, environment=environment, needs_secrets=False)


def files(name: str, form: Format, **environment: str) -> dict[str, str]:
    return deployment_files(pair_file(name, **environment), form)


def compose(name: str) -> Any:
    return yaml.safe_load(files(name, "compose")["compose.yaml"])


def manifests(name: str) -> list[Any]:
    texts = [t for n, t in files(name, "kubernetes").items() if n.endswith((".yaml", ".example"))]
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    return [document for document in found if "kind" in document]


def value_of(flag: str, command: list[str]) -> str:
    return command[command.index(flag) + 1]


def of_kind(kind: str, name: str) -> dict[str, Any]:
    return {m["metadata"]["name"]: m for m in manifests(name) if m["kind"] == kind}


def pods(name: str) -> dict[str, Any]:
    made = {**of_kind("Deployment", name), **of_kind("StatefulSet", name)}
    return {key: value["spec"]["template"] for key, value in made.items()}


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


@pytest.mark.parametrize("name", ["servers", "started", "replicas"])
def test_addresses_in_kubernetes_are_those_of_its_services(name: str) -> None:
    services = of_kind("Service", name)
    ports = {key: one["spec"]["ports"][0]["port"] for key, one in services.items()}
    gateway = yaml.safe_load(files(name, "kubernetes")["config/pair.yaml"])
    started = {n for n, model in pair_file(name).models.items() if model.launch}
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


def test_a_gpu_that_is_shared_in_the_file_is_a_warning_where_it_cannot_be() -> None:
    (line,) = warnings(pair_file("started"), "kubernetes")
    assert line.startswith("big and small share a GPU")
    assert not warnings(pair_file("started"), "compose")


SMALL = "pairs: {p: {target: m}}\n"


@pytest.mark.parametrize(
    ("model", "form", "message"),
    [
        ("launch: {engine: local, model: 8B}", "compose", "the engine local has no server"),
        ("launch: {engine: sglang, model: a/b}", "ray", "the engine vllm only"),
        ("url: ['http://a:1/v1', 'http://b:1/v1']", "ray", "start vllm-router, and give the model"),
        (
            "launch: {engine: sglang, model: a/b}, api_key: k, replicas: 2",
            "compose",
            "vLLM's router does not pass API keys to all paths of sglang",
        ),
        (
            "launch: {engine: vllm, model: a/b, flags: [-O3]}",
            "ray",
            "model m: Ray Serve takes long",
        ),
    ],
)
def test_what_cannot_be_deployed_is_one_line(
    model: str, form: Format, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text(f"models: {{m: {{{model}}}}}\n{SMALL}", encoding="utf-8")
    with pytest.raises(BadOption, match=message) as raised:
        deployment_files(read_pair_file(path), form)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("9lives", "the name 9lives does not begin with a letter, as Kubernetes demands: change"),
        ("a" * 40, "has 66 characters, and Kubernetes takes 63: shorten the model's name"),
    ],
)
def test_names_that_kubernetes_refuses_are_refused_before(
    name: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "pair.yaml"
    model = "m" * 25
    launch = "{launch: {engine: vllm, model: a/b}}"
    path.write_text(
        f"name: {name}\nmodels: {{{model}: {launch}}}\npairs: {{p: {{target: {model}}}}}\n"
    )
    with pytest.raises(BadOption, match=message):
        deployment_files(read_pair_file(path), "kubernetes")
    assert deployment_files(read_pair_file(path), "compose")


def test_a_server_has_not_the_name_of_another_service(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    launch = "launch: {engine: vllm, model: a/b}"
    models = f"{{m: {{{launch}, replicas: 2}}, m-1: {{{launch}}}}}"
    path.write_text(f"models: {models}\npairs: {{p: {{target: m, draft: m-1}}}}\n")
    file = read_pair_file(path)
    with pytest.raises(BadOption, match="model m: the service m-1 exists already: rename"):
        deployment_files(file, "compose")
    assert deployment_files(file, "kubernetes")


def test_a_flag_with_several_values_is_a_list_for_ray_serve(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    flags = "[--lora-modules, a, b, --seed=3, --enforce-eager, --swap-space, -1]"
    path.write_text(
        f"models: {{m: {{launch: {{engine: vllm, model: a/b, flags: {flags}}}}}}}\n{SMALL}"
    )
    made = yaml.safe_load(deployment_files(read_pair_file(path), "ray")["serve.yaml"])
    arguments = made["applications"][0]["args"]["llm_configs"][0]["engine_kwargs"]
    assert arguments["lora_modules"] == ["a", "b"]
    assert (arguments["seed"], arguments["enforce_eager"]) == (3, True)
    assert arguments["swap_space"] == -1


def test_systemd_reads_variables_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    env = r'{A: "$HOME 50%", B: "two\nlines"}'
    path.write_text(f"models: {{m: {{launch: {{engine: vllm, model: a/b, env: {env}}}}}}}\n{SMALL}")
    made = deployment_files(read_pair_file(path), "systemd")
    unit = next(text for name, text in made.items() if name.endswith("-m.service"))
    assert 'Environment="A=$HOME 50%%"\n' in unit
    assert 'Environment="B=two\\nlines"\n' in unit


@pytest.mark.parametrize(
    ("host", "published"),
    [
        ("127.0.0.1", "127.0.0.1:8500:8500"),
        ("localhost", "127.0.0.1:8500:8500"),
        ("0.0.0.0", "0.0.0.0:8500:8500"),
        ("'::'", "[::]:8500:8500"),
    ],
)
def test_compose_publishes_the_gateway_where_its_file_says(
    host: str, published: str, tmp_path: Path
) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text(f"models: {{m: {{url: http://h:1/v1}}}}\n{SMALL}gateway: {{host: {host}}}\n")
    made = yaml.safe_load(deployment_files(read_pair_file(path), "compose")["compose.yaml"])
    assert made["services"]["gateway"]["ports"] == [published]


def test_a_literal_key_becomes_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text("models: {m: {url: http://h:1/v1, api_key: Hush4711}}\n" + SMALL)
    for form in FORMATS:
        texts = deployment_files(read_pair_file(path), form).values()
        assert any("M_API_KEY" in text for text in texts)
        assert not any("Hush4711" in text for text in texts)


def test_the_pair_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text("models: {m: {url: http://h:1/v1}}\n" + SMALL)
    before = path.read_text()
    file = read_pair_file(path)
    with pytest.raises(BadOption, match="would overwrite the pair file"):
        write_files(deployment_files(file, "systemd"), tmp_path, file)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_a_pair_reads_are_copied(tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text("{}")
    path = tmp_path / "pair.yaml"
    path.write_text(
        "models: {m: {url: http://h:1/v1}, d: {url: http://h:2/v1}}\n"
        "pairs: {p: {target: m, draft: d, profile: gate.json}}\n"
    )
    made = deployment_files(read_pair_file(path), "compose")
    assert made["gateway/gate.json"] == "{}"
    assert yaml.safe_load(made["gateway/pair.yaml"])["pairs"]["p"]["profile"] == "gate.json"


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        (("missing.json", "missing.json"), "there is no profile .*missing.json"),
        (("a/gate.json", "b/gate.json"), "would have the same name where they are copied: rename"),
        (("pair.yaml", "pair.yaml"), "would have the same name where they are copied: rename"),
        (("not-text.json", "not-text.json"), "not UTF-8 text"),
    ],
)
def test_files_that_cannot_be_copied_are_one_line(
    profiles: tuple[str, str], message: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gate.json").write_text("{}")
    (tmp_path / "not-text.json").write_bytes(b"\xff\xfe")
    path = tmp_path / "pair.yaml"
    pairs = [f"  p{i}: {{target: m, profile: {name}}}\n" for i, name in enumerate(profiles)]
    path.write_text("models: {m: {url: http://h:1/v1}}\npairs:\n" + "".join(pairs))
    with pytest.raises(BadOption, match=message) as raised:
        deployment_files(read_pair_file(path), "compose")
    assert "\n" not in str(raised.value)


def test_an_address_inside_of_a_container_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text(
        "models:\n  m: {url: http://localhost:1/v1}\n"
        "  d: {url: [http://gpu:1/v1, 'http://[::1]:2/v1']}\n"
        "pairs: {p: {target: m, draft: d, transcriber: 'http://127.0.0.1:3/v1'}}\n"
        "gateway: {store: redis://localhost:6379/0}\n"
    )
    file = read_pair_file(path)
    for form in ("compose", "kubernetes"):
        assert warnings(file, form) == [
            f"{what}: inside a container, {host} is the container itself: name the machine"
            for what, host in (
                ("model m", "localhost"),
                ("model d", "::1"),
                ("transcriber of pair p", "127.0.0.1"),
                ("store", "localhost"),
            )
        ]
    assert not warnings(file, "systemd")


def test_weights_that_are_not_here_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text("models: {m: {launch: {engine: vllm, model: ./weights}}}\n" + SMALL)
    [found] = warnings(read_pair_file(path), "compose")
    assert found == f"model m: there is no {tmp_path / 'weights'} on this machine"
    (tmp_path / "weights").mkdir()
    assert not warnings(read_pair_file(path), "compose")


def transcribing(folder: Path, transcriber: str) -> PairFile:
    path = folder / "pair.yaml"
    pair = f"{{target: m, transcriber: '{transcriber}'}}"
    path.write_text(f"models: {{m: {{url: http://h:1/v1}}}}\npairs: {{p: {pair}}}\n")
    return read_pair_file(path)


@pytest.mark.parametrize("transcriber", ["./whisper", "small"])
@pytest.mark.parametrize("form", ["compose", "kubernetes"])
def test_images_have_no_transcriber(transcriber: str, form: Format, tmp_path: Path) -> None:
    (tmp_path / "whisper").mkdir()
    with pytest.raises(BadOption, match="pair p: the gateway's image has no faster-whisper") as no:
        deployment_files(transcribing(tmp_path, transcriber), form)
    assert "\n" not in str(no.value)
    assert deployment_files(transcribing(tmp_path, "http://t:1/v1"), form)


@pytest.mark.parametrize("form", ["compose", "kubernetes", "systemd"])
def test_the_key_of_a_transcriber_may_be_left_empty(form: Format, tmp_path: Path) -> None:
    texts = deployment_files(transcribing(tmp_path, "http://t:1/v1"), form)
    (example,) = (text for name, text in texts.items() if name.endswith(".example"))
    assert re.search(r"DREAMR_TRANSCRIBER_API_KEY(=|: '')$", example, re.MULTILINE)
    if form == "compose":
        environment = yaml.safe_load(texts["compose.yaml"])["services"]["gateway"]["environment"]
        assert environment == {"DREAMR_TRANSCRIBER_API_KEY": "${DREAMR_TRANSCRIBER_API_KEY:-}"}
    if form == "kubernetes":
        assert "key: DREAMR_TRANSCRIBER_API_KEY" in texts["gateway.yaml"]


@pytest.mark.parametrize("form", ["ray", "systemd"])
def test_a_folder_with_a_transcriber_is_not_copied(form: Format, tmp_path: Path) -> None:
    (tmp_path / "whisper").mkdir()
    file = transcribing(tmp_path, "./whisper")
    assert f"transcriber: {tmp_path / 'whisper'}\n" in "".join(
        deployment_files(file, form).values()
    )
    (line,) = warnings(file, form)
    assert line.startswith(f"pair p: the transcriber {tmp_path / 'whisper'} is not copied: put it")
    assert not warnings(transcribing(tmp_path, "small"), form)
