"""Files that a model and its flags name are in the containers of engines."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamr.pairs import PairFile, read_pair_file
from dreamr.serving.deploy import deployment_files, warnings
from support.deployments import SMALL


def started(folder: Path, engine: str, model: str, *flags: str) -> PairFile:
    launch = {"engine": engine, "model": model, "flags": list(flags)}
    path = folder / "pair.yaml"
    path.write_text(yaml.safe_dump({"models": {"m": {"launch": launch}}}) + SMALL)
    return read_pair_file(path)


def composed(file: PairFile) -> Any:
    text = deployment_files(file, "compose")["compose.yaml"]
    return yaml.safe_load(text)["services"]["m"]


def container(file: PairFile) -> Any:
    made = list(yaml.safe_load_all(deployment_files(file, "kubernetes")["m.yaml"]))
    (found,) = [one for one in made if one["kind"] == "Deployment"]
    return found["spec"]["template"]["spec"]["containers"][0]


def made(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("name", ["big.gguf", "sha256-1"])
def test_a_file_of_weights_is_a_file_in_its_container(name: str, tmp_path: Path) -> None:
    made(tmp_path, name)
    file = started(tmp_path, "llama.cpp", f"./{name}", "--mmproj", f"{tmp_path}/mmproj.gguf")
    pod = container(file)
    assert pod["volumeMounts"][0]["mountPath"] == "/models"
    for arguments in (pod["args"], composed(file)["command"]):
        assert arguments[:2] == ["--model", f"/models/{name}"]
        assert arguments[-2:] == ["--mmproj", "/models/mmproj.gguf"]
    assert composed(file)["volumes"] == [
        f"{tmp_path}/{name}:/models/{name}:ro",
        f"{tmp_path}/mmproj.gguf:/models/mmproj.gguf",
    ]
    missing = f"model m: there is no {tmp_path}/mmproj.gguf on this machine"
    assert missing in warnings(file, "compose")


def test_the_file_for_images_beside_a_model_is_in_its_container(tmp_path: Path) -> None:
    made(tmp_path, "big.gguf", "mmproj-F16.gguf")
    file = started(tmp_path, "llama.cpp", "./big.gguf")
    for arguments in (container(file)["args"], composed(file)["command"]):
        assert ("--mmproj", "/models/mmproj-F16.gguf") in pairwise(arguments)
    assert f"{tmp_path}/mmproj-F16.gguf:/models/mmproj-F16.gguf" in composed(file)["volumes"]


def test_a_folder_of_weights_holds_what_flags_name_in_it(tmp_path: Path) -> None:
    made(tmp_path, "big/chat.jinja")
    file = started(tmp_path, "vllm", "./big", f"--chat-template={tmp_path}/big/chat.jinja")
    assert composed(file)["volumes"] == [f"{tmp_path}/big:/models/big:ro"]
    assert container(file)["volumeMounts"][0]["mountPath"] == "/models/big"
    for arguments in (container(file)["args"], composed(file)["command"]):
        assert arguments[-1] == "--chat-template=/models/big/chat.jinja"
    assert not warnings(file, "compose")


def test_all_parts_of_weights_are_mounted(tmp_path: Path) -> None:
    file = started(tmp_path, "llama.cpp", "./big-00001-of-00003.gguf")
    names = [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert composed(file)["volumes"] == [f"{tmp_path}/{n}:/models/{n}:ro" for n in names]


@pytest.mark.parametrize(
    "flag", ["{}", "--lora-modules=sql={}", "{}:0.5", '{{"name": "a", "path":"{}"}}']
)
def test_other_files_in_flags_are_mounted_by_compose(flag: str, tmp_path: Path) -> None:
    made(tmp_path, "other/lora.gguf")
    path = f"{tmp_path}/other/lora.gguf"
    file = started(tmp_path, "vllm", "a/b", "--lora", flag.format(path))
    found = composed(file)
    assert found["volumes"] == ["weights:/root/.cache/huggingface", f"{path}:/host{path}"]
    assert found["command"][-1] == flag.format(f"/host{path}")
    assert not warnings(file, "compose")
    assert container(file)["args"][-1] == flag.format(path)
    (line,) = warnings(file, "kubernetes")
    assert line.startswith(f"model m: {path} is not mounted: its image must have it")


def test_files_of_the_image_are_left_to_it(tmp_path: Path) -> None:
    template = "/vllm-workspace/none/such.jinja"
    file = started(tmp_path, "vllm", "a/b", "--chat-template", template)
    assert composed(file)["command"][-1] == template
    assert composed(file)["volumes"] == ["weights:/root/.cache/huggingface"]
    assert len(warnings(file, "compose")) == 1


@pytest.mark.parametrize("flag", ["--proxy=http://h:1/v1", "{{ x ~ '/think' }}", "a/b", "--n=1/2"])
def test_what_is_not_a_path_is_left_as_it_is(flag: str, tmp_path: Path) -> None:
    file = started(tmp_path, "vllm", "a/b", flag)
    assert composed(file)["command"][-1] == flag
    assert not warnings(file, "compose")
    assert not warnings(file, "kubernetes")
