"""`dreamr pair init`: files that can be read, never overwritten, for GPUs, the CPU and nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dreamr_testbed import PAIR as PAIR_FOLDER

from dreamr.cli import main
from dreamr.pairs import examine, read_pair_file
from dreamr.serving.launch.commands import engine_command
from dreamr.sizing import find_architecture, parse_devices

pytestmark = pytest.mark.usefixtures("folder")
PAIR = (
    "--target",
    "Qwen/Qwen3-VL-32B-Instruct",
    "--draft",
    "Qwen/Qwen3-VL-2B-Instruct",
)
HYBRIDS = ("--target", "Qwen/Qwen3.6-27B-FP8", "--draft", "Qwen/Qwen3.5-4B")


def init(*arguments: str) -> int:
    return main(["pair", "init", *arguments])


def test_without_models_the_file_is_for_the_bundled_pair(folder: Path) -> None:
    assert init() == 0
    options = read_pair_file(folder / "pair.yaml").run_options()
    assert (options.target, options.draft) == ("embedded", "embedded")


def test_models_get_memory_devices_and_context(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(*PAIR, "--gpus", "4x80GB") == 0
    shown = capsys.readouterr().out
    assert "Worth it: expected" in shown
    assert "conversations of 3,072 tokens at a time" in shown
    file = read_pair_file(folder / "pair.yaml")
    target, draft = file.models["big"].launch, file.models["small"].launch
    assert target is not None
    assert draft is not None
    assert (target.devices, draft.devices) == ((0, 1), (2,))
    assert (target.context, target.memory, target.engine) == (32768, 0.92, "vllm")
    assert target.port != draft.port != file.gateway.port


@pytest.mark.parametrize(
    "arguments",
    [
        (*PAIR, "--gpus", "1x141GB"),
        (*PAIR, "--gpus", "8xH100", "--context", "65536", "--max-pixels", "4000000"),
        (*HYBRIDS, "--gpus", "1xH100"),
        (
            "--target",
            "google/gemma-4-31B-it",
            "--draft",
            "google/gemma-4-E4B-it",
            "--gpus",
            "2x80GB",
        ),
        (*PAIR, "--gpus", "2xH200", "--engine", "sglang"),
    ],
)
def test_every_file_is_without_fault(arguments: tuple[str, ...], folder: Path) -> None:
    assert init(*arguments) == 0
    found = examine(folder / "pair.yaml")
    assert found.faults == ()
    assert found.warnings == ()


def test_hybrids_are_started_without_multi_token_prediction(folder: Path) -> None:
    assert init(*HYBRIDS, "--gpus", "1x80GB") == 0
    launch = read_pair_file(folder / "pair.yaml").models["big"].launch
    assert launch is not None
    assert "--speculative-config" not in launch.flags
    assert "multi-token prediction is off" in (folder / "pair.yaml").read_text()


@pytest.mark.parametrize(
    ("target", "engine"),
    [
        ("HuggingFaceTB/SmolVLM-500M-Instruct", "vllm"),
        ("ggml-org/SmolVLM-500M-Instruct-GGUF", "llama.cpp"),
    ],
)
def test_without_a_gpu_the_models_run_on_the_cpu(target: str, engine: str, folder: Path) -> None:
    draft = target.replace("500M", "256M")
    assert init("--target", target, "--draft", draft, "--gpus", "none") == 0
    found = examine(folder / "pair.yaml")
    assert found.faults == ()
    assert found.file is not None
    for model in found.file.models.values():
        assert model.launch is not None
        assert model.launch.devices == ()
        assert model.launch.memory is None
        assert model.launch.engine == engine


@pytest.mark.parametrize(
    ("target", "draft", "gpus"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct-GGUF", "Qwen/Qwen3-VL-2B-Instruct-GGUF", "1x24GB"),
        ("Qwen/Qwen3-VL-8B-Instruct-GGUF", "Qwen/Qwen3-VL-2B-Instruct-GGUF", "1x48GB"),
        ("Qwen/Qwen3-VL-32B-Instruct-GGUF", "Qwen/Qwen3-VL-2B-Instruct-GGUF", "1x48GB"),
        ("unsloth/gemma-3-12b-it-GGUF", "ggml-org/gemma-3-4b-it-GGUF", "1x24GB"),
    ],
)
def test_the_caches_that_llama_allocates_fit_beside_the_weights(
    target: str, draft: str, gpus: str, folder: Path
) -> None:
    assert init("--target", target, "--draft", draft, "--gpus", gpus) == 0
    needed = 0
    for model in read_pair_file(folder / "pair.yaml").models.values():
        assert model.launch is not None
        arguments = engine_command(model.launch, 8001).arguments
        tokens, slots = (
            int(arguments[arguments.index(flag) + 1]) for flag in ("--ctx-size", "--parallel")
        )
        sizes = find_architecture(model.launch.model)
        needed += sizes.weight_bytes + slots * sizes.conversation_bytes(tokens // slots)
    (device,) = parse_devices(gpus)
    assert needed <= device.memory


def test_the_capacity_of_llama_is_that_of_its_slots(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ("--target", "Qwen/Qwen3-VL-8B-Instruct-GGUF", "--draft", PAIR[3])
    assert init(*models, "--engine", "llama.cpp", "--gpus", "1x80GB") == 0
    said = "4 conversations of 3,072 tokens at a time, 4 of the full context of 32,768"
    assert said in capsys.readouterr().out
    assert "GB the caches of 4 slots" in (folder / "pair.yaml").read_text()


def test_a_file_is_replaced_only_by_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pair.yaml").write_text("mine")
    assert init() == 2
    assert "pair.yaml exists" in capsys.readouterr().err
    assert (folder / "pair.yaml").read_text() == "mine"
    assert init("--force") == 0
    assert (folder / "pair.yaml").read_text() != "mine"


def test_folders_of_models_are_found_from_the_folder_of_the_file(folder: Path) -> None:
    (folder / "pairs").mkdir()
    for name in ("large", "small"):
        shutil.copytree(PAIR_FOLDER / "target", folder / name)
    models = ("--target", "large", "--draft", str(folder / "small"))
    assert init(*models, "--gpus", "1x24GB", "--out", "pairs/mine.yaml") == 0
    file = read_pair_file(folder / "pairs" / "mine.yaml")
    launches = [model.launch for model in file.models.values()]
    assert [one.model for one in launches if one] == [str(folder / "large"), str(folder / "small")]


@pytest.mark.parametrize("name", ["\U0001f600", "${HOME}", "two\nlines", 'a "b" #c', "1e3"])
def test_any_name_of_a_folder_is_read_back(name: str, folder: Path) -> None:
    shutil.copytree(PAIR_FOLDER / "target", folder / name)
    assert init("--target", name, "--draft", name, "--gpus", "1x24GB") == 0
    launch = read_pair_file(folder / "pair.yaml", environment={}).models["big"].launch
    assert launch is not None
    assert launch.model == str(folder / name)


def test_a_file_can_be_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init("--out", "-") == 0
    assert "embedded" in capsys.readouterr().out
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*PAIR, "--gpus", "1x24GB"), "more than the 22 GB that 1 x 24 GB can give them"),
        ((*PAIR, "--gpus", "4xFoo"), "unknown GPU 'Foo'"),
        (PAIR[:2], "a target needs a draft"),
        (PAIR[2:], "a draft needs a target"),
        ((*PAIR, "--gpus", "4x80GB", "--context", "999999"), "longer than that of the models"),
    ],
)
def test_a_pair_that_cannot_be_sized_is_an_error_of_one_line(
    arguments: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(*arguments) != 0
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(folder.iterdir())
