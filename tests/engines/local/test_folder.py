"""Model folders that cannot be used are told apart, in words of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr.engines.local import LocalEngine, bounds
from dreamr.engines.local.folder import check_path
from dreamr.engines.local.load import resolve
from dreamr.errors import ModelNotFound
from support.local_models import load_from

INDEX = "model.safetensors.index.json"
SHARDS = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}


def folder(path: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in {"config.json": "{}", **files}.items():
        data = content if isinstance(content, bytes) else content.encode()
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "has no weights in safetensors files: use a model or a revision that has them"),
        (
            {"pytorch_model.bin": b"\x80"},
            "has its weights in pytorch_model.bin, a pickle file, which could run code when it is "
            "opened: convert them to safetensors, or use a revision that has them",
        ),
        ({"weights.ckpt": b"\x80"}, "has its weights in weights.ckpt, a pickle file"),
        (
            {"model-Q4.gguf": b"GGUF"},
            "has its weights in model-Q4.gguf, a file for llama.cpp: serve it with llama-server",
        ),
        (
            {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\noid x"},
            "is incomplete: model.safetensors is a pointer of Git LFS; run git lfs pull",
        ),
        (
            {SHARDS["a"]: b"x", INDEX: json.dumps({"weight_map": SHARDS})},
            "is incomplete: 1 files with weights are missing, first model-2-of-2.safetensors",
        ),
    ],
)
def test_a_folder_without_usable_weights_says_what_it_has(
    tmp_path: Path, files: dict[str, str | bytes], problem: str
) -> None:
    path = folder(tmp_path, files)
    with pytest.raises(ModelNotFound) as found:
        check_path(str(path))
    assert str(found.value).startswith(f"{path} {problem}")


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": []}', "{}"])
def test_a_damaged_index_of_weights_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    path = folder(tmp_path, {"model.safetensors": b"x", INDEX: content})
    with pytest.raises(ModelNotFound, match=r"index of weights .*index\.json"):
        check_path(str(path))


def test_a_pickle_next_to_safetensors_is_not_read(tmp_path: Path, folders: dict[str, Path]) -> None:
    path = shutil.copytree(folders["qwen3"], tmp_path / "model")
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04 not opened")
    check_path(str(path))
    load_from(path)


def test_a_worker_reports_a_folder_with_pickles_only(tmp_path: Path) -> None:
    path = folder(tmp_path, {"pytorch_model.bin": b"\x80"})

    async def main() -> None:
        await LocalEngine.open(str(path))

    with pytest.raises(ModelNotFound, match=r"pytorch_model\.bin, a pickle file"):
        anyio.run(main)


def test_code_in_a_folder_is_never_run(tmp_path: Path, folders: dict[str, Path]) -> None:
    path = shutil.copytree(folders["qwen3"], tmp_path / "model")
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelNotFound, match="needs Python code of its own, which is never run"):
        load_from(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "cannot use the model in .*chat template did not end within",
        ),
        ("{{ 'x' * 3 * 10**6 }}", "chat template writes more than"),
        ("{{ messages }}" + "{# #}" * 2**18, "has more than 1,048,576 characters"),
    ],
)
def test_a_model_whose_template_has_no_end_is_not_loaded(
    tmp_path: Path,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    template: str,
    problem: str,
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.2)
    path = shutil.copytree(folders["qwen3"], tmp_path / "model")
    (path / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelNotFound, match=problem):
        load_from(path)


def test_a_template_that_refuses_one_conversation_may_accept_others(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    path = shutil.copytree(folders["qwen3"], tmp_path / "model")
    (path / "chat_template.jinja").write_text("{{ raise_exception('a system turn is missing') }}")
    load_from(path)


def test_the_revision_is_passed_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options["revision"]))
        if options["revision"] == "gone":
            raise OSError("404: no such revision")
        return str(folder(tmp_path, {"model.safetensors": b"x"}))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert resolve("owner/name") == resolve("owner/name", "v2") == str(tmp_path)
    assert asked == [("owner/name", None), ("owner/name", "v2")]
    with pytest.raises(ModelNotFound, match=r"^owner/name at gone is not a local folder"):
        resolve("owner/name", "gone")
    (tmp_path / "model.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **rest: str(tmp_path))
    with pytest.raises(ModelNotFound, match=r"^owner/name has no weights"):
        resolve("owner/name", "v2")
