"""What cannot be deployed is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr._option_specs import BadOption
from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import Format, deployment_files, write_files
from support.deployments import SMALL


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


def test_the_name_of_several_servers_leaves_room_for_a_label(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"

    def written(length: int, replicas: int) -> dict[str, str]:
        """Deploy servers whose StatefulSet, if they are several, has a name of this length."""
        model = "m" * (length - len("documents--servers"))
        launch = f"{{launch: {{engine: vllm, model: a/b}}, replicas: {replicas}}}"
        models = f"models: {{{model}: {launch}}}\npairs: {{p: {{target: {model}}}}}\n"
        path.write_text(f"name: documents\n{models}")
        return deployment_files(read_pair_file(path), "kubernetes")

    with pytest.raises(BadOption, match=r"-servers has 53 characters, and Kubernetes takes 52: sh"):
        written(53, replicas=2)
    assert written(52, replicas=2)
    assert written(53, replicas=1)


def test_a_server_has_not_the_name_of_another_service(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    launch = "launch: {engine: vllm, model: a/b}"
    models = f"{{m: {{{launch}, replicas: 2}}, m-1: {{{launch}}}}}"
    path.write_text(f"models: {models}\npairs: {{p: {{target: m, draft: m-1}}}}\n")
    file = read_pair_file(path)
    with pytest.raises(BadOption, match="model m: the service m-1 exists already: rename"):
        deployment_files(file, "compose")
    assert deployment_files(file, "kubernetes")


def test_the_pair_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text("models: {m: {url: http://h:1/v1}}\n" + SMALL)
    before = path.read_text()
    file = read_pair_file(path)
    with pytest.raises(BadOption, match="would overwrite the pair file"):
        write_files(deployment_files(file, "systemd"), tmp_path, file)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


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
