"""The servers that a pair file starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dreamr._option_specs import BadOption
from dreamr.pairs import PairFile, read_pair_file
from dreamr.serving.launch.choosing import choose_programs

LAUNCH = {"engine": "vllm", "model": "Qwen/Qwen3-VL-2B-Instruct", "command": [sys.executable]}


def pair(folder: Path, **models: Any) -> PairFile:
    path = folder / "pair.yaml"
    names = iter(models)
    pairs = {"dreamr": {"target": next(names), "draft": next(names)}}
    path.write_text(json.dumps({"models": models, "pairs": pairs}))
    return read_pair_file(path)


def test_only_models_of_pairs_that_are_to_be_started_are(tmp_path: Path) -> None:
    file = pair(
        tmp_path,
        big={"url": "http://gpu1:8000/v1"},
        small={"launch": LAUNCH},
        spare={"launch": LAUNCH},
    )
    [program] = choose_programs(file)
    assert program.model == "small"
    assert program.url == f"http://127.0.0.1:{program.port}/v1"


def test_ports_differ(tmp_path: Path) -> None:
    found = choose_programs(pair(tmp_path, big={"launch": LAUNCH}, small={"launch": LAUNCH}))
    assert len({program.port for program in found}) == 2


def test_replicas_are_not_started_here(tmp_path: Path) -> None:
    file = pair(tmp_path, big={"launch": LAUNCH, "replicas": 2}, small={"launch": LAUNCH})
    with pytest.raises(BadOption, match="starts one server of a model, not 2"):
        choose_programs(file)


def test_what_to_install_is_named(tmp_path: Path) -> None:
    launch = {"engine": "llama.cpp", "model": "small.gguf", "command": ["no-such-server"]}
    file = pair(tmp_path, big={"launch": launch}, small={"launch": launch})
    with pytest.raises(BadOption) as raised:
        choose_programs(file)
    assert str(raised.value) == (
        "model big: llama.cpp is not installed, there is no program no-such-server: install it "
        "from https://github.com/ggml-org/llama.cpp/releases, or name the program by 'command'"
    )
