"""Values of a pair file, as each format writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import FORMATS, Format, deployment_files
from support.deployments import SMALL


def engine_arguments(flags: str, tmp_path: Path) -> dict[str, Any]:
    """Return the arguments of an engine with these flags for Ray Serve."""
    path = tmp_path / "pair.yaml"
    path.write_text(
        f"models: {{m: {{launch: {{engine: vllm, model: a/b, flags: {flags}}}}}}}\n{SMALL}"
    )
    made = yaml.safe_load(deployment_files(read_pair_file(path), "ray")["serve.yaml"])
    found: dict[str, Any] = made["applications"][0]["args"]["llm_configs"][0]["engine_kwargs"]
    return found


def test_a_flag_with_several_values_is_a_list_for_ray_serve(tmp_path: Path) -> None:
    flags = "[--lora-modules, a, b, --seed=3, --enforce-eager, --swap-space, -1]"
    arguments = engine_arguments(flags, tmp_path)
    assert arguments["lora_modules"] == ["a", "b"]
    assert (arguments["seed"], arguments["enforce_eager"]) == (3, True)
    assert arguments["swap_space"] == -1


def test_a_flag_that_switches_off_is_false_for_ray_serve(tmp_path: Path) -> None:
    arguments = engine_arguments("[--no-enable-prefix-caching, --no-repeat, 3]", tmp_path)
    assert arguments["enable_prefix_caching"] is False
    assert arguments["no_repeat"] == 3
    assert "no_enable_prefix_caching" not in arguments


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


DEFAULTS = """
models:
  m:
    launch:
      engine: vllm
      model: a/b
      env: {HF_TOKEN: "${HF_TOKEN:-}", MODE: "${M:-fast $5}", SAME: "${SAME:-1}", NEEDED: "${SAME}"}
    api_key: ${BIG_KEY:-none}
pairs: {p: {target: m}}
"""


def with_defaults(form: Format, tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "pair.yaml"
    path.write_text(DEFAULTS)
    return deployment_files(read_pair_file(path, environment={}, needs_secrets=False), form)


def test_compose_demands_no_variable_that_has_a_default(tmp_path: Path) -> None:
    made = with_defaults("compose", tmp_path)
    services = yaml.safe_load(made["compose.yaml"])["services"]
    assert services["m"]["environment"] == {
        "VLLM_API_KEY": "${BIG_KEY:-none}",
        "HF_TOKEN": "${HF_TOKEN:-}",
        "MODE": "${M:-fast $$5}",
        "SAME": "${SAME:?set it in .env}",  # another place has no default
        "NEEDED": "${SAME:?set it in .env}",
    }
    assert services["gateway"]["environment"] == {"BIG_KEY": "${BIG_KEY:-none}"}
    lines = made[".env.example"].splitlines()
    assert {"#BIG_KEY=", "#M=", "HF_TOKEN=", "SAME="} <= set(lines)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("compose", "gateway/pair.yaml"),
        ("kubernetes", "config/pair.yaml"),
        ("systemd", "pair.yaml"),
    ],
)
def test_a_key_has_its_default_where_the_gateway_runs(
    form: Format, name: str, tmp_path: Path
) -> None:
    text = with_defaults(form, tmp_path)[name]
    path = tmp_path / "deployed.yaml"
    path.write_text(text)
    assert read_pair_file(path, environment={}).models["m"].api_key == "none"
    set_one = read_pair_file(path, environment={"BIG_KEY": "mine"})
    assert set_one.models["m"].api_key == "mine"


def test_kubernetes_and_systemd_have_the_defaults_of_variables(tmp_path: Path) -> None:
    secret = yaml.safe_load(with_defaults("kubernetes", tmp_path)["secrets.yaml.example"])
    assert secret["stringData"] == {"BIG_KEY": "none", "HF_TOKEN": "", "M": "fast $5", "SAME": ""}
    unit = next(
        t for n, t in with_defaults("systemd", tmp_path).items() if n.endswith("-m.service")
    )
    for line in ("BIG_KEY=none", "HF_TOKEN=", '"M=fast $5"'):
        assert f"\nEnvironment={line}\n" in unit
    assert "Environment=SAME" not in unit


def test_ray_serve_has_the_defaults_of_variables(tmp_path: Path) -> None:
    made = yaml.safe_load(with_defaults("ray", tmp_path)["serve.yaml"])
    (config,) = made["applications"][0]["args"]["llm_configs"]
    assert config["runtime_env"] == {"env_vars": {"MODE": "fast $5"}}


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
