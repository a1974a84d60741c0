"""The table of model families."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._families import UNKNOWN, _installed_entries, _own_entries, recognize, recognize_folder
from dreamr.errors import ModelNotFound


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Qwen/Qwen3-VL-2B-Instruct", "Qwen3-VL"),
        ("Qwen/Qwen3-VL-30B-A3B-Thinking-FP8", "Qwen3-VL Thinking"),
        ("qwen3-vl:8b", "Qwen3-VL"),
        ("Qwen3VL-8B-Thinking-Q4_K_M.gguf", "Qwen3-VL Thinking"),
        ("Qwen/Qwen3-8B", "Qwen3"),
        ("qwen3_8b", "Qwen3"),
        ("qwen3:0.6b", "Qwen3"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507", "Qwen3 Thinking"),
        ("Qwen/Qwen3-4B-Instruct-2507", "Qwen3 Instruct"),
        ("Qwen/Qwen3.5-4B", "Qwen3.5"),
        ("Qwen/Qwen3.6-35B-A3B", "Qwen3.6 A3B"),
        ("Qwen/Qwen3.6-27B-FP8", "Qwen3.6"),
        ("qwen3.8:27b", "Qwen3.6"),
        ("qwen3_6-27b", "Qwen3.6"),
        ("Qwen/Qwen3-Embedding-8B", "unknown"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL"),
        ("qwen2.5vl:7b", "Qwen2.5-VL"),
        ("google/gemma-3-12b-it", "Gemma 3"),
        ("gemma3:4b", "Gemma 3"),
        ("google/gemma-4-E4B-it", "Gemma 4 E2B and E4B"),
        ("google/gemma-4-31B-it", "Gemma 4"),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "Mistral"),
        ("mistralai/Ministral-3-8B-Instruct-2512", "Mistral"),
        ("mistralai/Ministral-3-8B-Reasoning-2512", "Magistral and Ministral Reasoning"),
        ("mistralai/Magistral-Small-2509", "Magistral and Ministral Reasoning"),
        ("mistralai/Mistral-Medium-3.5-128B", "Mistral Medium 3.5 and Small 4"),
        ("zai-org/GLM-4.1V-9B-Thinking", "GLM-4.1V"),
        ("zai-org/GLM-4.5V-FP8", "GLM-4.5V"),
        ("zai-org/GLM-4.6V-Flash", "GLM-4.6V"),
        ("zai-org/GLM-4.6", "unknown"),
        ("OpenGVLab/InternVL3_5-38B", "InternVL"),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "LLaVA"),
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "SmolVLM and Idefics3"),
        ("HuggingFaceM4/Idefics3-8B-Llama3", "SmolVLM and Idefics3"),
        ("openai/gpt-oss-20b", "gpt-oss"),
        ("embedded", "bundled pair"),
        ("/opt/lib/python3.12/site-packages/dreamr_testbed/pair/draft", "bundled pair"),
        ("/hub/models--Qwen--Qwen3-VL-8B-Thinking/snapshots/0a1b2c", "Qwen3-VL Thinking"),
        (r"C:\models\gemma-3-4b-it", "Gemma 3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_model_is_recognized_by_its_hub_id_its_served_name_or_its_folder(
    name: str, family: str
) -> None:
    assert recognize(name).name == family


def test_the_last_part_of_a_path_counts_before_the_folders_above_it() -> None:
    assert recognize("/srv/gemma-3/Qwen3-VL-2B-Instruct").name == "Qwen3-VL"


def test_the_model_type_decides_where_the_name_says_nothing() -> None:
    assert recognize("my-model", "qwen3_5_moe").name == "Qwen3.5"
    assert recognize("my-gemma-3", "qwen3_5_moe").name == "Gemma 3"
    assert recognize("my-model", "bert") is UNKNOWN


def test_a_folder_is_recognized_by_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "glm4v_moe"}))
    assert recognize_folder(tmp_path).name == "GLM-4.5V"


def test_a_folder_without_a_type_is_unknown(tmp_path: Path) -> None:
    assert recognize_folder(tmp_path) is UNKNOWN
    (tmp_path / "config.json").write_text(json.dumps({"model_type": ["qwen3"]}))
    assert recognize_folder(tmp_path) is UNKNOWN


def test_a_damaged_configuration_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        recognize_folder(tmp_path)


def test_the_bundled_pair_is_greedy() -> None:
    recommended = recognize("embedded").recommended()
    assert recommended is not None
    assert recommended.values == {"temperature": 0.0}


def test_a_family_that_thinks_by_default_has_two_recommendations() -> None:
    family = recognize("Qwen/Qwen3.5-27B")
    assert family.recommended() is family.recommended(thinking=True) is family.thinking_sampling
    assert family.recommended(thinking=False) is family.sampling
    assert family.hybrid
    assert family.no_thinking == {"enable_thinking": False}


def test_a_family_that_always_thinks_has_one_recommendation() -> None:
    family = recognize("Qwen/Qwen3-VL-8B-Thinking")
    assert family.recommended(thinking=False) is family.thinking_sampling


@pytest.mark.parametrize(
    "family",
    [row[0] for row in (*_installed_entries(), *_own_entries())],
    ids=lambda family: family.name,
)
def test_an_entry_is_complete(family: object) -> None:
    for recommended in (family.sampling, family.thinking_sampling):  # type: ignore[attr-defined]
        if recommended is not None:
            assert recommended.source
            assert "temperature" in recommended.values


def install(folder: Path, name: str, table: str) -> None:
    """Install a distribution that declares a table of families."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[dreamr.families]\n{name} = {name}:TABLE\n")
    (folder / f"{name}.py").write_text(f"TABLE = {str(folder / 'table.toml')!r}\n")
    (folder / "table.toml").write_text(table)


def test_a_family_of_another_distribution_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    table = '[[family]]\nname = "Tuned"\nids = ["^our-qwen3-vl"]\nthinks = "always"\n'
    assert recognize("our-qwen3-vl-8b").name == "Qwen3-VL"
    install(tmp_path, "our_families", table)
    assert recognize("our-qwen3-vl-8b").name == "Tuned"
    assert recognize("Qwen/Qwen3-VL-8B-Instruct").name == "Qwen3-VL"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("no_toml", "family = ["),
        ("no_ids", '[[family]]\nname = "x"\n'),
        ("bad_pattern", '[[family]]\nname = "x"\nids = ["("]\n'),
        ("unknown_key", '[[family]]\nname = "x"\nids = ["x"]\nthings = 1\n'),
    ],
)
def test_a_table_of_another_distribution_that_cannot_be_read_is_named(
    name: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, name, table)
    with pytest.raises(ModelNotFound, match=f"table of model families '{name}' cannot be read: "):
        recognize("any")


@given(st.text(), st.none() | st.text())
def test_any_name_has_a_family(name: str, model_type: str | None) -> None:
    assert recognize(name, model_type).name
