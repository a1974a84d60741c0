"""Command lines of engines."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dreamr._option_specs import BadOption
from dreamr.pairs import Launch
from dreamr.serving.launch.commands import engine_command

HERE = ("--host", "127.0.0.1", "--port", "8001")


def launch(engine: Any, **given: Any) -> Launch:
    return Launch(engine=engine, **{"model": "Qwen/Qwen3-VL-2B-Instruct", **given})


WHOLE = {
    "revision": "main",
    "dtype": "bfloat16",
    "context": 32768,
    "devices": (2, 3),
    "memory": 0.2,
    "flags": ("--max-num-seqs", "64"),
    "env": {"HF_HUB_OFFLINE": "1"},
}


def test_vllm() -> None:
    found = engine_command(launch("vllm", **WHOLE), 8001, "secret")
    assert found.arguments == (
        "vllm", "serve", "Qwen/Qwen3-VL-2B-Instruct", *HERE, "--enable-prompt-tokens-details",
        "--revision", "main", "--dtype", "bfloat16", "--max-model-len", "32768",
        "--gpu-memory-utilization", "0.2", "--tensor-parallel-size", "2", "--max-num-seqs", "64",
    )  # fmt: skip
    assert found.environment == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "2,3",
        "VLLM_API_KEY": "secret",
        "HF_HUB_OFFLINE": "1",
    }


def test_sglang() -> None:
    found = engine_command(launch("sglang", **WHOLE), 8001, "secret")
    assert found.arguments == (
        "sglang", "serve", "--model-path", "Qwen/Qwen3-VL-2B-Instruct", *HERE,
        "--enable-cache-report", "--revision", "main", "--dtype", "bfloat16",
        "--context-length", "32768", "--mem-fraction-static", "0.2", "--tp-size", "2",
        "--max-num-seqs", "64",
    )  # fmt: skip
    assert found.secrets == {"api-key": "secret"}
    assert found.with_secrets()[-2:] == ("--api-key", "secret")


@pytest.mark.parametrize("flag", ["--config", "--config=mine.yaml"])
def test_sglang_takes_one_file_which_holds_its_key(flag: str) -> None:
    given = launch("sglang", flags=(flag, "mine.yaml"))
    assert engine_command(given, 8001).secrets == {}
    with pytest.raises(BadOption, match="write what is in yours as 'flags'"):
        engine_command(given, 8001, "secret")


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama.cpp"])
def test_keys_are_not_among_the_arguments(engine: str) -> None:
    found = engine_command(launch(engine), 8001, "sk-hidden")
    assert "sk-hidden" not in " ".join(found.arguments)
    assert "sk-hidden" in (*found.environment.values(), *found.secrets.values())


def test_llama_serves_a_file_with_a_context_for_each_of_its_slots() -> None:
    given = {"model": "/models/small.gguf", "context": 4096}
    found = engine_command(launch("llama.cpp", **given, devices=()), 8001, "secret")
    assert found.arguments == (
        "llama-server", "--model", "/models/small.gguf", *HERE, "--jinja", "--metrics",
        "--parallel", "4", "--ctx-size", "16384", "--n-gpu-layers", "0",
    )  # fmt: skip
    assert found.environment == {"CUDA_VISIBLE_DEVICES": "", "LLAMA_API_KEY": "secret"}


@pytest.mark.parametrize("flags", [("-np", "2"), ("--parallel=2",), ("-t", "1", "--parallel", "2")])
def test_slots_of_llama_are_those_of_its_flags(flags: tuple[str, ...]) -> None:
    found = engine_command(launch("llama.cpp", context=4096, flags=flags), 8001).arguments
    assert found[found.index("--ctx-size") + 1] == "8192"
    assert ("--parallel", "4") not in pairwise(found)
    assert found[-len(flags) :] == flags


def test_llama_fetches_what_is_not_a_file() -> None:
    found = engine_command(launch("llama.cpp", model="ggml-org/SmolVLM-GGUF:Q8_0"), 8001).arguments
    assert found[1:3] == ("-hf", "ggml-org/SmolVLM-GGUF:Q8_0")


@pytest.mark.parametrize("option", ["revision", "dtype", "memory"])
def test_what_llama_does_not_have_is_refused(option: str) -> None:
    with pytest.raises(BadOption, match=f"llama.cpp has no '{option}'"):
        engine_command(launch("llama.cpp", **{option: WHOLE[option]}), 8001)


def test_without_options_engines_keep_their_defaults() -> None:
    found = engine_command(launch("vllm"), 8001)
    assert found.arguments[2:] == (
        "Qwen/Qwen3-VL-2B-Instruct", *HERE, "--enable-prompt-tokens-details",
    )  # fmt: skip
    assert found.environment == {}


def test_no_devices_are_the_cpu() -> None:
    assert engine_command(launch("vllm", devices=()), 1).environment == {
        "CUDA_VISIBLE_DEVICES": "",
        "VLLM_TARGET_DEVICE": "cpu",
    }
    assert engine_command(launch("sglang", devices=()), 1).arguments[-2:] == ("--device", "cpu")


def test_another_program_takes_the_same_arguments(tmp_path: Path) -> None:
    found = engine_command(launch("vllm", command=("uv", "run", "vllm")), 8001).arguments
    assert found[:4] == ("uv", "run", "vllm", "serve")


def test_variables_of_the_file_win() -> None:
    env = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST", "CUDA_VISIBLE_DEVICES": "GPU-8c1"}
    assert engine_command(launch("vllm", devices=(0,), env=env), 8001).environment == env


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama.cpp"])
def test_devices_are_numbered_as_nvidia_smi_does(engine: str) -> None:
    found = engine_command(launch(engine, devices=(1,)), 8001).environment
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_DEVICE_ORDER" not in engine_command(launch(engine), 8001).environment
