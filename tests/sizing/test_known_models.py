"""The table of known models: what is computed from a configuration agrees with the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dreamr.errors import ModelNotFound
from dreamr.sizing import (
    BadConfiguration,
    find_architecture,
    known_architecture,
    known_models,
    read_architecture,
)
from dreamr.sizing.known import KnownModel

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
CLOSE = 0.05  # multi-token prediction, audio towers and norms are not counted


@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.ids[0].pattern)
def test_computed_parameters_agree_with_the_model_card(model: KnownModel) -> None:
    found = read_architecture("known", model.config, source=model.source)
    assert found.parameters == pytest.approx(model.parameters, rel=CLOSE)
    assert model.source


def test_the_active_parameters_of_a_mixture_are_those_in_its_name() -> None:
    for name, billions in (
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", 3),
        ("Qwen/Qwen3-VL-235B-A22B-Instruct", 22),
        ("google/gemma-4-26B-A4B-it", 4),
        ("zai-org/GLM-4.5V", 12),
    ):
        found = known_architecture(name)
        assert found is not None
        assert found.experts
        assert found.active / 1e9 == pytest.approx(billions, rel=0.12)


def test_a_name_says_how_many_bits_a_weight_has() -> None:
    plain = find_architecture("Qwen/Qwen3-VL-32B-Instruct")
    small = find_architecture("Qwen/Qwen3-VL-32B-Instruct-FP8")
    smaller = find_architecture("someone/Qwen3-VL-32B-Instruct-AWQ-4bit")
    assert (plain.bits, small.bits, smaller.bits) == (16, 8, 4)
    assert smaller.weight_bytes < small.weight_bytes < plain.weight_bytes
    assert "bits per weight, from the name" in small.assumed
    assert plain.parameters == small.parameters


@pytest.mark.parametrize("size", ["3B", "8B", "14B"])
def test_a_checkpoint_in_fp8_has_8_bits_without_a_mark_in_its_name(size: str) -> None:
    name = f"mistralai/Ministral-3-{size}-Instruct-2512"
    found = find_architecture(name)
    assert found.bits == 8
    assert "bits per weight, from the name" not in found.assumed
    for other, bits in (
        (f"{name}-BF16", 16),
        (f"{name}-GGUF", 4),
        (f"{name}-AWQ-4bit", 4),
        (f"mistralai/Ministral-3-{size}-Reasoning-2512", 16),
        (f"mistralai/Ministral-3-{size}-Base-2512", 16),
        (f"someone/Ministral-3-{size}-Instruct-2512-tuned", 16),
        (f"someone/Ministral-3-{size}-Instruct-2512", 16),
    ):
        one = find_architecture(other)
        assert (one.bits, one.parameters) == (bits, found.parameters), other


def test_the_bits_of_a_known_model_are_not_those_of_a_folder_of_its_sizes(tmp_path: Path) -> None:
    model = next(one for one in known_models() if "quantization_config" in one.config)
    kept = ("hidden_size", "intermediate_size", "num_hidden_layers")
    text = {key: model.config["text_config"][key] for key in kept}
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": model.config["model_type"], "text_config": text})
    )
    found = find_architecture(str(tmp_path))
    assert "completed from the known models" in found.source
    assert found.bits == 16


def test_a_photograph_has_as_many_tokens_as_a_server_counts() -> None:
    found = find_architecture("Qwen/Qwen3-VL-8B-Instruct")
    assert found.tokens_of_image(4032 * 3024) == pytest.approx(11_891, rel=0.01)


TILED = [one.config for one in known_models() if one.config["model_type"] == "internvl_chat"]
TEXT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 100}
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "patch_size": 14, "image_size": 448}


@pytest.mark.parametrize(
    "config",
    [
        *TILED,
        {
            "model_type": "internvl_chat",
            "llm_config": {**TEXT, "intermediate_size": 64},
            "vision_config": TOWER,
            "downsample_ratio": 0.5,
            "max_dynamic_patch": 12,
        },
        {
            "model_type": "internvl",
            "text_config": {**TEXT, "intermediate_size": 64},
            "vision_config": {**TOWER, "patch_size": [14, 14], "image_size": [448, 448]},
            "downsample_ratio": 0.5,
            "image_seq_length": 256,
        },
    ],
)
def test_an_image_in_tiles_has_the_tokens_of_the_most_tiles(config: dict[str, Any]) -> None:
    """A proportion of 4 to 3 takes all 12 tiles at any size, so pixels alone are no bound."""
    found = read_architecture("model", config, source="test")
    figures = json.loads((RESULTS / "media-tokens.json").read_text())["figures"]
    measured = figures["images"]["InternVL3, InternVL3.5"]
    for image, (width, height) in figures["sent"].items():
        assert measured[image] <= found.tokens_of_image(width * height) == 13 * 256
    assert "tokens of an image" not in found.assumed


@pytest.mark.parametrize(("most", "tiles"), [(1, 1), (6, 7), (None, 13), ("many", 13)])
def test_a_configuration_says_the_most_tiles_of_an_image(most: object, tiles: int) -> None:
    config = {
        "model_type": "internvl_chat",
        "llm_config": {**TEXT, "intermediate_size": 64},
        "vision_config": TOWER,
        "max_dynamic_patch": most,
    }
    found = read_architecture("model", config, source="test")
    assert found.tokens_of_image(640 * 480) == tiles * 256


@pytest.mark.parametrize(
    ("name", "side", "each"),
    [("SmolVLM-256M-Instruct", 512, 64), ("SmolVLM2-500M", 512, 64), ("SmolVLM-Instruct", 384, 81)],
)
def test_an_image_that_is_enlarged_has_the_tokens_of_the_most_tiles(
    name: str, side: int, each: int
) -> None:
    processors = pytest.importorskip("transformers")
    processor = processors.Idefics3ImageProcessor(
        size={"longest_edge": 4 * side}, max_image_size={"longest_edge": side}
    )
    sizes = [(860, 1217), (1365, 768), (640, 360), (300, 300)]
    tiles = [processor.get_number_of_image_patches(high, wide, {})[0] for wide, high in sizes]
    found = find_architecture(name)
    assert max(tiles) * each == found.tokens_of_image(300 * 300)
    assert found.tokens_of_image(2**20) == found.tokens_of_image(300 * 300)


def test_recurrent_layers_keep_a_state_and_no_cache() -> None:
    found = find_architecture("Qwen/Qwen3.6-27B")
    assert found.hybrid
    assert sum(one.count for one in found.caches) == found.layers / 4
    assert found.conversation_bytes(0) == found.state > 0


def test_sliding_windows_bound_the_cache() -> None:
    found = find_architecture("google/gemma-3-27b-it")
    short, long, longer = (found.conversation_bytes(n) for n in (1024, 2048, 3072))
    assert longer - long == long - short < short


def test_a_folder_is_read_with_nested_configurations(tmp_path: Path) -> None:
    model = next(one for one in known_models() if "qwen3-vl-2b" in one.ids[0].pattern)
    (tmp_path / "config.json").write_text(json.dumps(model.config))
    found = find_architecture(str(tmp_path))
    assert found.sees
    assert found.layers == 28
    assert found.source == str(tmp_path / "config.json")


def compressed(*parts: dict[str, Any]) -> dict[str, Any]:
    """A quantization of the compressed-tensors format: of weights, and of activations."""
    group = dict(zip(("weights", "input_activations"), parts, strict=False))
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "awq", "bits": 4}, 4),
        (compressed({"num_bits": 8, "strategy": "channel"}), 8),
        (compressed({"num_bits": 4, "group_size": 128}), 4),
        (compressed({"num_bits": 4, "group_size": 128}, {"num_bits": 8}), 4),
        (compressed({"num_bits": 4}, {"num_bits": 16}) | {"kv_cache_scheme": {"num_bits": 8}}, 4),
        ({"quant_method": "compressed-tensors", "config_groups": {"W4A16": ["Linear"]}}, 4),
        ({"quant_method": "mxfp4"}, 4),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16, "kv": "FP8"}, 4),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, 4),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, 8),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}, 8),
        ({"quant_method": "bitsandbytes", "load_in_8bit": False, "load_in_4bit": True}, 4),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, 4),
        ({"quant_method": "torchao", "quant_type": "Int8DynamicActivationInt4WeightConfig"}, 4),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}, 4),
        ({"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["layers.4"]}, 8),
        ({"quant_method": "unheard-of", "group_size": 128}, 8),
    ],
)
def test_a_configuration_says_how_many_bits_a_weight_has(
    quantization: dict[str, object], bits: int
) -> None:
    model = known_models()[0]
    config = {**model.config, "quantization_config": quantization}
    assert read_architecture("model", config, source="test").bits == bits
    inside = {
        **model.config,
        "text_config": {**model.config["text_config"], "quantization_config": quantization},
    }
    assert read_architecture("model", inside, source="test").bits == bits


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("Qwen3-VL-8B-Instruct", 16),
        ("Qwen3-VL-8B-Instruct-F16.gguf", 16),
        ("Qwen3-VL-8B-Instruct-BF16.gguf", 16),
        ("Qwen3-VL-8B-Instruct-GGUF:BF16", 16),
        ("Qwen3-VL-8B-Instruct-F32.gguf", 32),
        ("Qwen3-VL-8B-Instruct-Q8_0.gguf", 8),
        ("Qwen3-VL-8B-Instruct-Q6_K.gguf", 6),
        ("Qwen3-VL-8B-Instruct-Q5_K_M.gguf", 5),
        ("Qwen3-VL-8B-Instruct-Q4_K_M.gguf", 4),
        ("Qwen3-VL-8B-Instruct-IQ3_XXS.gguf", 3),
        ("Qwen3-VL-8B-Instruct-GGUF:Q2_K", 2),
        ("Qwen3-VL-8B-Instruct-GGUF", 4),
        ("Qwen3-VL-8B-Instruct-q4f16_1", 4),
        ("Qwen3-VL-8B-Instruct-quantized.w4a16", 4),
        ("Qwen3-VL-8B-Instruct-quantized.w8a8", 8),
        ("Qwen3-VL-8B-Instruct-GPTQ-Int8", 8),
        ("Qwen3-VL-8B-Instruct-GPTQ-Int4", 4),
        ("Qwen3-VL-8B-Instruct-AWQ-BF16", 4),
        ("Qwen3-VL-8B-Instruct-FP8-dynamic", 8),
        ("Qwen3-VL-8B-Instruct-NVFP4", 4),
        ("Qwen3-VL-8B-Instruct-bnb-4bit", 4),
        ("Qwen3-VL-8B-Instruct-8-bit", 8),
    ],
)
def test_a_name_says_the_bits_of_the_common_formats(name: str, bits: int) -> None:
    found = find_architecture(f"someone/{name}")
    assert found.bits == bits
    assert ("bits per weight, from the name" in found.assumed) == (name != "Qwen3-VL-8B-Instruct")


def shortened(name: str) -> dict[str, Any]:
    """A configuration as libraries write it: without what the class of the model has anyway."""
    model = next(one for one in known_models() if name in one.ids[0].pattern)
    kept = ("hidden_size", "intermediate_size", "num_hidden_layers", "sliding_window")
    text = {key: model.config["text_config"][key] for key in kept}
    return {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", **text}}


@pytest.mark.parametrize("folder", ["gemma-3-4b-it", "my-own"])
def test_defaults_that_a_configuration_leaves_out_are_those_of_the_known_model(
    folder: str, tmp_path: Path
) -> None:
    known = find_architecture("google/gemma-3-4b-it")
    path = tmp_path / folder
    path.mkdir()
    quantized = {"quantization_config": compressed({"num_bits": 4, "group_size": 128})}
    (path / "config.json").write_text(json.dumps(shortened("gemma-3-4b") | quantized))
    found = find_architecture(str(path))
    assert (found.heads, found.vocabulary, found.caches) == (
        known.heads,
        known.vocabulary,
        known.caches,
    )
    assert found.bits == 4
    assert found.parameters == pytest.approx(known.parameters, rel=CLOSE)
    assert found.source.startswith(str(path / "config.json"))


def test_a_model_stays_readable_when_it_has_been_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--google--gemma-3-4b-it"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("1" * 40)
    snapshot = repository / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(shortened("gemma-3-4b")))
    found = find_architecture("google/gemma-3-4b-it")
    assert str(snapshot) in found.source
    assert found.heads == 8


@pytest.mark.parametrize(
    ("folder", "layers"), [("my-own", 20), ("gemma-3-4b-pruned", 20), ("gemma-3-27b-it", 34)]
)
def test_a_model_of_other_sizes_is_not_completed(folder: str, layers: int, tmp_path: Path) -> None:
    config = shortened("gemma-3-4b")
    config["text_config"] |= {"num_hidden_layers": layers, "hidden_size": 2000}
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadConfiguration, match=r"config\.json has no"):
        find_architecture(str(tmp_path / folder))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "config.json has no hidden_size"),
        ({"hidden_size": "large"}, "hidden_size in config.json must be a whole number from 1"),
        ({"hidden_size": -1}, "hidden_size in config.json must be a whole number from 1"),
        ({"hidden_size": 0}, "hidden_size in config.json must be a whole number from 1"),
        ({"hidden_size": True}, "hidden_size in config.json must be a whole number from 1"),
        ({"hidden_size": 64, "num_hidden_layers": 10**12}, "num_hidden_layers .* to 10,000"),
    ],
)
def test_a_configuration_without_sizes_is_an_error_of_one_line(
    config: dict[str, object], message: str
) -> None:
    with pytest.raises(BadConfiguration, match=message):
        read_architecture("model", config, source="test")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("patch_size", value) for value in (0, -1, [], ["a"], True, 10**12, "14", None)),
        ("spatial_merge_size", 0),
        ("spatial_merge_size", None),
    ],
)
def test_a_vision_tower_without_usable_sizes_has_assumed_ones(field: str, value: object) -> None:
    config = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 100,
        "intermediate_size": 64,
        "vision_config": {"hidden_size": 32, "depth": 2, "patch_size": 14, field: value},
    }  # fmt: skip
    found = read_architecture("model", config, source="test")
    assert found.tokens_of_image(2**20) == 2**20 // (14 * 2) ** 2 + 1
    assert "tokens of an image" in found.assumed


@pytest.mark.parametrize("name", ["", " ", "http://gpu1:8000/v1"])
def test_what_is_no_name_of_a_model_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFound, match="is not a model: name its folder or its Hugging Face"):
        find_architecture(name)


def test_an_unknown_model_says_where_was_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound, match="unset HF_HUB_OFFLINE"):
        find_architecture("someone/unheard-of-7b")


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelNotFound, match="not valid JSON"):
        find_architecture(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        find_architecture(str(tmp_path))
