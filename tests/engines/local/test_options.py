"""Options of a local model, and hints from its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from dreamr.engines.local.folder import check_path
from dreamr.engines.local.options import Hints, LocalOptions, placed, read_hints
from dreamr.engines.local.worker import _start
from dreamr.engines.prompts import Questions
from dreamr.engines.protocol import DType
from dreamr.errors import ModelNotFound, Unsupported
from support.attachments import asked, image, sound

_NO_CONNECTION: Any = None  # a model that is not found sends nothing


def test_the_default_dtype_on_a_cpu_is_float32() -> None:
    assert LocalOptions().torch_dtype == "float32"
    assert LocalOptions(device="cuda:1").torch_dtype == "auto"
    assert LocalOptions().cpu_dtype == "float32"


@pytest.mark.parametrize(
    ("device", "given", "order"),
    [
        ("cuda:1", None, "PCI_BUS_ID"),
        ("cuda:1", "FASTEST_FIRST", "FASTEST_FIRST"),
        ("auto", None, None),
        ("cpu", None, None),
    ],
)
def test_devices_with_a_number_are_numbered_as_nvidia_smi_does(
    device: str, given: str | None, order: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", given or "")
    if given is None:
        monkeypatch.delenv("CUDA_DEVICE_ORDER")
    with pytest.raises(ModelNotFound):
        _start("/none/such", LocalOptions(device=device), _NO_CONNECTION)
    assert os.environ.get("CUDA_DEVICE_ORDER") == order


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_weights_on_a_cpu_stay_in_float32_unless_torch_runs_the_model(dtype: DType) -> None:
    options = LocalOptions(dtype=dtype)
    assert (options.torch_dtype, options.cpu_dtype) == ("float32", dtype)
    whole = LocalOptions(dtype=dtype, decoder="torch")
    assert whole.torch_dtype == ("bfloat16" if dtype == "bfloat16" else "float32")


@pytest.mark.parametrize("dtype", [None, *get_args(DType)])
def test_deterministic_options_are_in_float32_on_a_cpu(dtype: DType | None) -> None:
    options = LocalOptions(dtype=dtype, deterministic=True)
    assert (options.torch_dtype, options.cpu_dtype) == ("float32", "float32")


def test_an_unknown_dtype_is_an_error() -> None:
    with pytest.raises(ValueError, match="dtype must be one of auto, float32, bfloat16, not 'int8"):
        LocalOptions(dtype="int8")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "cuda", "weights", "found"),
    [
        ("auto", True, 2**30, ("cuda", "bfloat16")),
        ("auto", True, 2**20, ("cpu", "float32")),  # faster there
        ("auto", False, 2**30, ("cpu", "float32")),
        ("cpu", True, 2**30, ("cpu", "float32")),
        ("cuda:1", True, 2**20, ("cuda:1", "auto")),
    ],
)
def test_auto_is_cuda_in_bfloat16_where_there_is_one(
    device: str, cuda: bool, weights: int, found: tuple[str, str]
) -> None:
    options = placed(LocalOptions(device=device), cuda=cuda, weights=weights)
    assert (options.device, options.torch_dtype) == found


@pytest.mark.parametrize(
    ("dtype", "found"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("auto", "bfloat16")]
)
def test_a_dtype_that_is_given_is_kept(dtype: DType, found: str) -> None:
    options = placed(LocalOptions(device="auto", dtype=dtype), cuda=True, weights=2**30)
    assert options.torch_dtype == found


@pytest.mark.parametrize("name", ["threads", "cache_bytes", "ahead", "prefill"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        LocalOptions(**{name: 0})


def test_an_unknown_decoder_is_an_error() -> None:
    with pytest.raises(ValueError, match="decoder must be one of auto, torch"):
        LocalOptions(decoder="lean")  # type: ignore[arg-type]


def test_a_folder_without_a_hints_file_has_no_hints(tmp_path: Path) -> None:
    assert read_hints(tmp_path) == Hints()


def test_hints_are_read_and_unknown_keys_ignored(tmp_path: Path) -> None:
    hints = {
        "judge_prompt": "Right?",
        "delimiter": "\n\n",
        "answer_marker": "Answer:",
        "max_step_tokens": 64,
        "max_images": 1,
    }
    written = hints | {"recipe": "abc", "trained_tasks": {"docmath": [1, 2]}}
    (tmp_path / "dreamr.json").write_text(json.dumps(written), encoding="utf-8")
    assert read_hints(tmp_path) == Hints(**hints, trained_tasks={"docmath": (1, 2)})


def test_a_model_that_reads_one_image_refuses_more() -> None:
    hints = Hints(max_images=1)
    for problem in (asked(), asked(sound()), asked(image(1))):
        hints.check_images(problem)
    with pytest.raises(Unsupported, match="reads 1 image in a conversation, not 2: attach less"):
        hints.check_images(asked(image(1), image(2)))
    Hints().check_images(asked(*map(image, range(9))))


def test_questions_come_from_the_caller_then_the_folder_then_the_defaults() -> None:
    hints = Hints(judge_prompt="Right?", same_prompt="Like {step}?")
    assert hints.questions() == Questions("Right?", Questions().score, "Like {step}?")
    assert hints.questions("Sound?").verdict == "Sound?"
    assert hints.questions().about("Tea {step}.\n\n") == "Like Tea {step}.?"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"max_images": 0}',
        '{"max_step_tokens": "64"}',
        '{"max_step_tokens": true}',
        '{"delimiter": ""}',
        '{"trained_tasks": {}}',
        '{"trained_tasks": ["docmath"]}',
        '{"trained_tasks": {"docmath": 3}}',
        '{"trained_tasks": {"docmath": ["hard"]}}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_an_invalid_hints_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "dreamr.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelNotFound, match=r"dreamr\.json"):
        read_hints(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["./nowhere", "/no/where", "~/nowhere", "~missing-user/a", "a/b/c", "/" + "a" * 9999, "./a\0b"],
)
def test_missing_paths_are_not_looked_up_on_the_hub(name: str) -> None:
    with pytest.raises(ModelNotFound, match="there is no model at"):
        check_path(name)


def test_an_empty_name_is_an_error() -> None:
    with pytest.raises(ModelNotFound, match="the model name is empty"):
        check_path(" ")


def test_files_and_folders_without_a_config_are_errors(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelNotFound, match="is a file"):
        check_path(str(tmp_path / "model.safetensors"))
    with pytest.raises(ModelNotFound, match=r"no config\.json"):
        check_path(str(tmp_path))


@pytest.mark.parametrize("name", ["Qwen/Qwen3-VL-8B-Instruct", "gpt2"])
def test_hugging_face_ids_are_not_checked(name: str) -> None:
    check_path(name)
