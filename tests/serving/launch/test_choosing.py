"""The servers that a pair file starts."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._option_specs import BadOption
from dreamr.pairs import Launch, ModelEntry, PairFile, read_pair_file
from dreamr.serving.launch.choosing import choose_programs
from dreamr.serving.launch.commands import engine_command
from dreamr.serving.launch.ports import free_port
from dreamr.serving.launch.program import memory_taken
from support.pair_files import write_pair_file

LAUNCH = {"engine": "vllm", "model": "Qwen/Qwen3-VL-2B-Instruct", "command": [sys.executable]}


def pair(folder: Path, **models: Any) -> PairFile:
    names = iter(models)
    pairs = {"dreamr": {"target": next(names), "draft": next(names)}}
    return read_pair_file(write_pair_file(folder, models, pairs))


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


@pytest.mark.parametrize(
    ("beside", "flags", "expected"),
    [
        (["mmproj-F16.gguf"], [], "mmproj-F16.gguf"),
        (["big-Q4-00002-of-00002.gguf", "mmproj-F16.gguf"], [], "mmproj-F16.gguf"),
        (["mmproj-F16.gguf"], ["--mmproj", "/other.gguf"], None),
        (["mmproj-F16.gguf"], ["--no-mmproj"], None),
        (["mmproj-F16.gguf", "mmproj-F32.gguf"], [], None),
        (["mmproj-F16.gguf", "small-Q4.gguf"], [], None),
        ([], [], None),
    ],
)
def test_llama_gets_the_only_file_for_images_beside_its_only_model(
    beside: list[str], flags: list[str], expected: str | None, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("big-Q4-00001-of-00002.gguf", *beside):
        (models / name).touch()
    big = {**LAUNCH, "engine": "llama.cpp", "model": "./models/big-Q4-00001-of-00002.gguf"}
    file = pair(tmp_path, big={"launch": {**big, "flags": flags}}, small={"launch": LAUNCH})
    arguments = choose_programs(file)[0].command.arguments
    given = [str(models / expected)] if expected else []
    found = zip(arguments, (*arguments[1:], ""), strict=True)
    assert [value for flag, value in found if flag == "--mmproj"] == given + flags[1:]


def test_ports_differ(tmp_path: Path) -> None:
    found = choose_programs(pair(tmp_path, big={"launch": LAUNCH}, small={"launch": LAUNCH}))
    assert len({program.port for program in found}) == 2


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The router's program, on PATH."""
    program = tmp_path / "vllm-router"
    program.touch(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    return str(program)


def test_replicas_have_a_router_in_front_that_keeps_sessions(tmp_path: Path, router: str) -> None:
    file = pair(tmp_path, big={"launch": LAUNCH, "replicas": 3}, small={"launch": LAUNCH})
    *servers, front, other = choose_programs(file)
    assert [one.model for one in servers] == ["big.1", "big.2", "big.3"]
    assert (front.model, front.engine, front.after) == (
        "big",
        "router",
        ("big.1", "big.2", "big.3"),
    )
    assert front.servers == tuple(one.root for one in servers)
    assert ("--policy", "consistent_hash") in pairwise(front.command.arguments)
    assert front.command.arguments[0] == router
    assert other.model == "small"
    assert len({one.port for one in (*servers, front, other)}) == 5


def test_routers_do_not_share_the_port_of_their_metrics(tmp_path: Path, router: str) -> None:
    file = pair(
        tmp_path,
        big={"launch": LAUNCH, "replicas": 2},
        small={"url": ["http://gpu1:8000/v1", "http://gpu2:8000"]},
    )
    found = [one for one in choose_programs(file) if one.engine == "router"]
    ports = [dict(pairwise(one.command.arguments))["--prometheus-port"] for one in found]
    assert len({*ports, *(str(one.port) for one in found)}) == 4


def test_the_port_of_the_file_is_that_of_the_router(tmp_path: Path, router: str) -> None:
    port = free_port()
    file = pair(
        tmp_path,
        big={"launch": {**LAUNCH, "port": port}, "replicas": 2},
        small={"launch": LAUNCH},
    )
    found = {one.model: one.port for one in choose_programs(file)}
    assert found["big"] == port
    assert port not in (found["big.1"], found["big.2"], found["small"])


@given(st.integers(1, 4), st.integers(0, 3))
def test_devices_are_divided_among_the_replicas(replicas: int, each: int) -> None:
    devices = tuple(range(replicas * each))
    launch = Launch(engine="vllm", model="a/b", devices=devices)
    launches = ModelEntry(name="big", launch=launch, replicas=replicas).launches
    assert len(launches) == replicas
    assert {len(one.devices or ()) for one in launches} == {each}
    assert tuple(device for one in launches for device in one.devices or ()) == devices


SHARES = st.floats(0.02, 0.48).map(lambda share: round(share, 2))
PLACES = st.sampled_from([(0,), (1,), (0, 1), (), None])


@given(st.lists(st.tuples(PLACES, SHARES), min_size=1, max_size=4))
def test_sglang_gets_its_share_of_a_device_from_what_earlier_servers_leave(
    servers: list[tuple[tuple[int, ...] | None, float]],
) -> None:
    held: Counter[object] = Counter()
    launches: list[Launch] = []
    for devices, share in servers:
        launch = Launch(engine="sglang", model="a/b", devices=devices, memory=share)
        where = {None: ["first"], (): ["CPU"]}.get(devices) or list(devices or ())
        taken = max(held[one] for one in where)
        assert memory_taken(launches, launch) == pytest.approx(taken)
        if taken + share <= 0.95:
            arguments = engine_command(launch, 1, taken=taken).arguments
            fraction = float(dict(pairwise(arguments))["--mem-fraction-static"])
            assert fraction * (1 - taken) == pytest.approx(share, abs=0.001)
        launches.append(launch)
        held.update(dict.fromkeys(where, share))


def test_servers_of_one_device_take_the_shares_of_the_file(tmp_path: Path, router: str) -> None:
    launch = {**LAUNCH, "engine": "sglang", "devices": [0, 1]}
    file = pair(
        tmp_path,
        big={"launch": {**launch, "memory": 0.68}, "replicas": 2},
        small={"launch": {**launch, "memory": 0.24, "devices": [1]}},
    )
    found = {one.model: dict(pairwise(one.command.arguments)) for one in choose_programs(file)}
    shares = [found[name]["--mem-fraction-static"] for name in ("big.1", "big.2", "small")]
    assert shares == ["0.68", "0.68", "0.75"]


@pytest.mark.parametrize(
    ("engine", "first", "second"),
    [
        ("vllm", {"memory": 0.6}, {}),  # vLLM takes a share of all memory
        ("sglang", {"memory": 0.6, "devices": [1]}, {"devices": [0]}),
        ("sglang", {"memory": 0.6, "env": {"CUDA_VISIBLE_DEVICES": "1"}}, {}),
        ("sglang", {"memory": 0.8}, {}),  # more than one device has: they are on several
        ("sglang", {}, {}),
    ],
)
def test_a_share_stays_as_it_is_beside_servers_that_take_nothing_of_it(
    tmp_path: Path, engine: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    launch = {**LAUNCH, "engine": engine}
    small = {"launch": {**launch, "memory": 0.25, **second}}
    file = pair(tmp_path, big={"launch": {**launch, **first}}, small=small)
    *_, program = choose_programs(file)
    flag = "--gpu-memory-utilization" if engine == "vllm" else "--mem-fraction-static"
    assert dict(pairwise(program.command.arguments))[flag] == "0.25"


def test_servers_that_run_already_have_a_router_in_front(tmp_path: Path, router: str) -> None:
    urls = ["http://gpu1:8000/v1", "http://gpu2:8000"]
    file = pair(tmp_path, big={"url": urls}, small={"url": "http://gpu3:8000/v1"})
    [front] = choose_programs(file)
    assert (front.model, front.after) == ("big", ())
    assert front.servers == ("http://gpu1:8000", "http://gpu2:8000")


def test_a_router_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    file = pair(tmp_path, big={"launch": LAUNCH, "replicas": 2}, small={"launch": LAUNCH})
    with pytest.raises(BadOption) as raised:
        choose_programs(file)
    assert str(raised.value) == (
        "model big: several servers of one model need vLLM's router, and there is no program "
        "vllm-router: pip install vllm-router, in an environment on PATH"
    )


def test_a_file_that_is_not_a_program_is_named(tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.touch(0o600)
    launch = {**LAUNCH, "command": [str(program)]}
    file = pair(tmp_path, big={"launch": launch}, small={"launch": LAUNCH})
    with pytest.raises(BadOption) as raised:
        choose_programs(file)
    assert str(raised.value) == f"model big: {program} is not a program: chmod +x {program}"


@pytest.mark.parametrize(("engine", "refused"), [("vllm", False), ("llama.cpp", True)])
def test_a_key_that_the_router_does_not_pass_on_is_refused(
    tmp_path: Path, router: str, engine: str, refused: bool
) -> None:
    big = {"launch": {**LAUNCH, "engine": engine}, "replicas": 2, "api_key": "sk-1"}
    file = pair(tmp_path, big=big, small={"launch": LAUNCH})
    expected = pytest.raises(BadOption, match="remove api_key or replicas")
    with expected if refused else nullcontext():
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
