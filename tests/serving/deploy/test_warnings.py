"""What may not work where it is deployed is a warning."""

from __future__ import annotations

from pathlib import Path

from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import warnings
from support.deployments import SMALL, pair_file


def test_a_gpu_that_is_shared_in_the_file_is_a_warning_where_it_cannot_be() -> None:
    (line,) = warnings(pair_file("started"), "kubernetes")
    assert line.startswith("big and small share a GPU")
    assert not warnings(pair_file("started"), "compose")


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


def test_variables_that_ray_serve_does_not_pass_on_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    env = '{TOKEN: "${HF_TOKEN}", CACHE: "${CACHE:-}", MODE: "${MODE:-fast}", PLAIN: here}'
    path.write_text(f"models: {{m: {{launch: {{engine: vllm, model: a/b, env: {env}}}}}}}\n{SMALL}")
    file = read_pair_file(path, environment={}, needs_secrets=False)
    assert warnings(file, "ray") == [
        "model m: values of variables are not written: set TOKEN, CACHE in the environment of the "
        "cluster's nodes"
    ]
    assert not warnings(file, "kubernetes")
