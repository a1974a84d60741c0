"""A pair file becomes models, pairs and options, or faults with their line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr._options import RunOptions
from dreamr.pairs import (
    BadPairFile,
    NotRunning,
    PairFile,
    PairNotFound,
    examine,
    read_pair_file,
)
from dreamr.serving.options import ServeOptions

WHOLE = """\
models:
  big:
    url: http://gpu1:8000/v1
    model: Qwen/Qwen3-VL-32B-Instruct
    api_key: ${QWEN_KEY}
  small:
    launch:
      engine: vllm
      model: Qwen/Qwen3-VL-2B-Instruct
      revision: main
      dtype: bfloat16
      context: 32768
      devices: [0]
      memory: 0.2
      port: 8001
      flags: [--max-num-seqs, 64]
      env: {VLLM_LOGGING_LEVEL: INFO, THREADS: 2}
pairs:
  dreamr:
    target: big
    draft: small
    window: 12
    thinking: off
    gate: cascade
    profile: profile.json
  big-alone:
    target: big
gateway:
  port: 8600
"""
SMALL = "models:\n  m: {url: 'http://h:1/v1'}\npairs:\n  p:\n    target: m\n"


def read(folder: Path, text: str, name: str = "pair.yaml", **environment: str) -> PairFile:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_pair_file(path, environment=environment)


def faults(folder: Path, text: str, **environment: str) -> list[str]:
    path = folder / "pair.yaml"
    path.write_text(text, encoding="utf-8")
    return [fault.at("pair.yaml") for fault in examine(path, environment=environment).faults]


def test_a_file_declares_models_pairs_and_the_gateway(tmp_path: Path) -> None:
    file = read(tmp_path, WHOLE, "invoices.yaml", QWEN_KEY="secret")
    assert file.name == "invoices"
    big, small = file.models["big"], file.models["small"].launch
    assert (big.urls, big.api_key) == (("http://gpu1:8000/v1",), "secret")
    assert (big.api_key_variable, big.is_started) == ("QWEN_KEY", False)
    assert small is not None
    assert (small.engine, small.devices, small.memory) == ("vllm", (0,), 0.2)
    assert small.flags == ("--max-num-seqs", "64")
    assert small.env == {"VLLM_LOGGING_LEVEL": "INFO", "THREADS": "2"}
    assert list(file.pairs) == ["dreamr", "big-alone"]
    assert file.default.given == {"window", "thinking", "gate", "profile"}
    assert file.gateway == ServeOptions(port=8600)
    assert file.gateway_given == {"port"}


def test_options_of_runs_name_the_models(tmp_path: Path) -> None:
    file = read(tmp_path, WHOLE, QWEN_KEY="secret")
    options = file.run_options("dreamr", {"small": "http://localhost:8001/v1"})
    assert options == RunOptions(
        target="http://gpu1:8000/v1",
        target_model="Qwen/Qwen3-VL-32B-Instruct",
        draft="http://localhost:8001/v1",
        window=12,
        thinking="off",
        gate="cascade",
        profile=str(tmp_path / "profile.json"),
    )
    assert "secret" not in repr(file)


def test_a_pair_without_a_draft_is_the_plain_model(tmp_path: Path) -> None:
    options = read(tmp_path, WHOLE, QWEN_KEY="x").run_options("big-alone")
    assert (options.method, options.draft) == ("target", None)


def test_a_local_model_is_opened_with_its_revision_device_and_dtype(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    text = (
        "models:\n"
        "  t: {launch: {engine: local, model: weights, devices: [1], dtype: bfloat16}}\n"
        "  d: {launch: {engine: local, model: org/name, revision: v2, devices: []}}\n"
        "pairs: {p: {target: t, draft: d}}\n"
    )
    options = read(tmp_path, text).run_options()
    assert (options.target, options.device) == (str(tmp_path / "weights"), "cuda:1")
    assert (options.draft, options.draft_revision) == ("org/name", "v2")
    assert options.draft_device == "cpu"
    assert (options.source("target").dtype, options.source("draft").dtype) == ("bfloat16", "auto")


@pytest.mark.parametrize("name", ["small.gguf", "weights/small.gguf", "weights", "org/name"])
def test_a_model_beside_the_file_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "weights").mkdir()
    for file in ("small.gguf", "weights/small.gguf"):
        (tmp_path / file).touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    launch = f"launch: {{engine: llama.cpp, model: {name}}}"
    found = read(tmp_path, SMALL.replace("url: 'http://h:1/v1'", launch)).models["m"].launch
    assert found is not None
    assert found.model == (name if name == "org/name" else str(tmp_path / name))


def test_a_model_to_be_started_asks_for_dreamr_up(tmp_path: Path) -> None:
    file = read(tmp_path, WHOLE, QWEN_KEY="x")
    with pytest.raises(NotRunning, match=r"'small' of pair\.yaml is not running: run dreamr up"):
        file.run_options("dreamr")


def test_an_unknown_pair_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(PairNotFound, match=r"has no pair .dream.: did you mean .dreamr"):
        read(tmp_path, WHOLE, QWEN_KEY="x").pair("dream")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("my_pair.yaml", "my-pair"), ("Bills 2.yml", "bills-2"), ("pair.yaml", "invoices")],
)
def test_a_file_without_a_name_has_that_of_its_path(
    tmp_path: Path, name: str, expected: str
) -> None:
    folder = tmp_path / "invoices"
    folder.mkdir()
    assert read(folder, SMALL, name).name == expected


@pytest.mark.parametrize(
    ("changed", "to", "expected"),
    [
        ("window", "windw", '22:5: unknown key "windw": did you mean "window"?'),
        ("window", "port", '22:5: unknown key "port": write it under "gateway"'),
        ("window", "device", '22:5: unknown key "device": write it as "devices" in "launch"'),
        ("window: 12", "window: 0", "22:13: window must be at least 1, not 0"),
        ("window: 12", "window: '12'", "22:13: window must be a whole number, not '12'"),
        ("window: 12", "window:", "22:12: window is empty: give a value, or leave it out"),
        ("thinking: off", "thinking: no", "23:15: thinking must be one of auto, on, off"),
        ("target: big", "target: bigg", '20:13: no model "bigg" in this file: did you mean "big"?'),
        ("memory: 0.2", "memory: 2", "14:15: memory must be at most 1, not 2"),
        ("engine: vllm", "engine: vlm", "8:15: engine must be one of vllm, sglang"),
        ("port: 8600", "port: 8001", "15:13: port 8001 is that of the gateway too"),
        (
            "    launch:",
            "    url: http://h:1/v1\n    launch:",
            "8:5: small has both url and launch",
        ),
        ("engine: vllm", "engine: llama.cpp", '10:7: engine llama.cpp has no "revision"'),
        ("revision: main", "revision: 123", '10:17: revision must be text: write it in quotes, "'),
        (
            "gate: cascade\n    profile: p",
            "draft_confidence: 0.9\n    hotwords: p",
            "24:5: draft_confidence needs gate cascade",
        ),
        ("http://gpu1:8000/v1", "ftp://gpu1", "3:10: url: ftp://gpu1 is not a server URL"),
        ("${QWEN_KEY}", "${NOT_SET}", "5:14: the environment variable NOT_SET is not set"),
        ("  big-alone:", "  dreamr:", '26:3: "dreamr" is given twice; first in line 19'),
        ("    target: big\ngateway", "    window: 3\ngateway", "27:5: big-alone needs target or"),
    ],
)
def test_a_fault_names_its_line_and_column(
    tmp_path: Path, changed: str, to: str, expected: str
) -> None:
    assert changed in WHOLE
    found = faults(tmp_path, WHOLE.replace(changed, to), QWEN_KEY="x")
    assert [fault for fault in found if fault.startswith(f"pair.yaml:{expected}")], found


def test_a_dtype_that_local_models_do_not_have_is_a_fault(tmp_path: Path) -> None:
    text = (
        "models: {a: {launch: {engine: local, model: a/b, dtype: int8}}}\npairs: {p: {target: a}}"
    )
    expected = "pair.yaml:1:57: dtype of engine local is one of auto, float32, bfloat16"
    assert [fault for fault in faults(tmp_path, text) if fault.startswith(expected)]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "launch: {engine: vllm, model: a/b, devices: [0, 1, 2]}, replicas: 2",
            "2 replicas cannot have an equal share of 3 devices: name a multiple of 2",
        ),
        ("launch: {engine: vllm, model: a/b, devices: [1, 1]}", "a device is named twice"),
        ("url: ['http://h:1/v1', 'http://h:1']", "url: http://h:1/v1 is named twice"),
        (
            "url: ['http://h:1/v1', 'http://h:1/api']",
            "url: a router takes addresses that end in /v1, not http://h:1/api",
        ),
        ("url: ['http://h:1/v1', 'ftp://h']", "url: ftp://h is not a server URL"),
    ],
)
def test_faults_of_several_servers(tmp_path: Path, model: str, expected: str) -> None:
    (fault,) = faults(tmp_path, SMALL.replace("url: 'http://h:1/v1'", model))
    assert expected in fault


def test_the_error_is_the_first_fault_and_counts_the_others(tmp_path: Path) -> None:
    text = SMALL + "    windw: 1\n    gat: cascade\n"
    with pytest.raises(BadPairFile, match=r"pair\.yaml:6:5: .* \(1 more: dreamr pair check") as bad:
        read(tmp_path, text)
    assert [fault.line for fault in bad.value.faults] == [6, 7]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty"),
        ("a: [", "1:5: not valid YAML"),
        ("a: &x 1\nb: *x\n", "2:4: aliases (*x) are not supported"),
        ("a: !!python/object:os.system {}", "1:4: the tag tag:yaml.org"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document"),
        ("a: " + "[" * 2000, "1:16: nested too deeply"),
        ("a: \x01", "1:4: not valid YAML: the character U+0001"),
        ("[a]: 1\n", "1:1: a key must be text"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert faults(tmp_path, text)[0].startswith(f"pair.yaml:{expected}")


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPairFile, match="more than 262,144"):
        read(tmp_path, SMALL + "#" * 300_000)


def test_secrets_are_in_no_message(tmp_path: Path) -> None:
    text = SMALL.replace("v1'", "v1', api_key: 'hunter two'") + "    windw: 1\n"
    (fault, *others) = faults(tmp_path, text.replace("    windw: 1\n", ""))
    assert not others
    assert "hunter" not in fault
    assert "api_key contains a space" in fault


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("window: 3", '6:5: "window" has no effect with method target'),
        ("thinking: 'off'", None),
        ("top_p: 0.9", None),  # a request may choose a temperature
    ],
)
def test_options_without_effect_are_warnings(
    tmp_path: Path, options: str, expected: str | None
) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text(f"{SMALL}    {options}\n")
    found = examine(path)
    assert not found.faults
    assert [one.at("f")[2:] for one in found.warnings] == ([expected] if expected else [])
