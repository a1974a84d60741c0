"""`dreamr up` with real servers and a router: they start, serve, come back, and leave nothing."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from dreamr_testbed import PAIR

from dreamr.pairs.running import PairState, read_state
from dreamr.serving.launch.leftovers import marked
from support.pair_files import write_pair_file

pytestmark = pytest.mark.server
START_SECONDS = 480.0  # on a busy machine
END_SECONDS = 60.0
ROLES = {"big": "target", "small": "draft"}
VLLM_FLAGS = [
    "--distributed-executor-backend", "uni", "--enforce-eager", "--block-size", "32",
    "--max-num-seqs", "16", "--skip-mm-profiling",
]  # fmt: skip
VLLM_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "TORCH_COMPILE_DISABLE": "1",
    "VLLM_HOST_IP": "127.0.0.1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
}  # fmt: skip


def llama(engines: Path, role: str) -> dict[str, Any]:
    program = engines / "llama" / "llama-server"
    if not program.exists():
        pytest.skip("llama.cpp is not installed")
    folder = engines / "pair-gguf"
    tower = ["--mmproj", str(folder / f"{role}-tower.gguf")]
    return {
        "engine": "llama.cpp",
        "model": str(folder / f"{role}.gguf"),
        "devices": [],
        "context": 4096,
        "flags": [*tower, "-t", "1", "-tb", "1"],
        "command": [str(program)],
    }


def vllm(engines: Path, role: str) -> dict[str, Any]:
    program = engines / "vllm" / "bin" / "vllm"
    if not program.exists():
        pytest.skip("vLLM is not installed")
    return {
        "engine": "vllm",
        "model": str(PAIR / role),
        "devices": [],
        "dtype": "float32",
        "flags": VLLM_FLAGS,
        "env": VLLM_ENVIRONMENT,  # with the engine's core in a process of its own
        "command": [str(program)],
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run all tests over llama.cpp; over vLLM, which starts slowly, restarts with --all only."""
    restarts = any(word in metafunc.function.__name__ for word in ("comes_back", "come_back"))
    more = [] if restarts and not metafunc.config.getoption("--all") else [vllm]
    metafunc.parametrize("file", [llama, *more], indirect=True, ids=lambda one: one.__name__)


@pytest.fixture
def file(request: pytest.FixtureRequest, engines: Path, tmp_path: Path) -> Path:
    """A pair file of the embedded pair."""
    models = {name: {"launch": request.param(engines, role)} for name, role in ROLES.items()}
    pairs = {"dreamr": {"target": "big", "draft": "small"}}
    return write_pair_file(tmp_path, models, pairs, "real-pair")


@pytest.fixture
def replicated(file: Path, engines: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with two servers of the target, and vLLM's router in front of them."""
    programs = engines / "router" / "bin"
    if not (programs / "vllm-router").exists():
        pytest.skip("vLLM's router is not installed: scripts/engines/install-router")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    content = json.loads(file.read_text())
    content["models"]["big"]["replicas"] = 2
    file.write_text(json.dumps(content))
    return file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """State folder of the pair; nothing of it may be left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "dreamr" / "real-pair"
    yield folder
    left = marked(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def dreamr(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "dreamr", *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=2 * START_SECONDS)
    assert found.returncode == 0, found.stderr


def up(file: Path) -> PairState:
    dreamr("up", file, "--detach", "--no-doctor")
    state = read_state("real-pair")
    assert state is not None
    return state


def ends(pids: set[int]) -> bool:
    """Wait for the end of processes."""
    descriptors = []
    for pid in pids:
        try:
            descriptors.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    found = [bool(select.select([one], [], [], END_SECONDS)[0]) for one in descriptors]
    for one in descriptors:
        os.close(one)
    return all(found)


def ask(state: PairState) -> str:
    """Ask the gateway, and return the text of the answer."""
    body = {"model": "dreamr", "messages": [{"role": "user", "content": "What is 17 + 25?"}]}
    url = f"{state.gateway}/v1/chat/completions"
    answer = httpx2.post(url, json=body, timeout=120, trust_env=False)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def restarted(name: str) -> PairState:
    """Wait until a model is ready again."""
    for _ in range(int(START_SECONDS)):
        state = read_state("real-pair")
        assert state is not None
        if state.models[name].restarts and state.models[name].phase == "ready":
            return state
        select.select([], [], [], 1)
    raise AssertionError(f"{name} does not come back")


def wait_until_ready(state: PairState) -> None:
    """Wait until the gateway has opened its models again."""
    for _ in range(60):
        if httpx2.get(f"{state.gateway}/ready", trust_env=False).status_code == 200:
            return
        select.select([], [], [], 1)


def test_a_pair_answers_and_is_down_again(file: Path, folder: Path) -> None:
    state = up(file)
    assert ask(state)
    pids = {state.pid, *marked(folder)}
    dreamr("down", file)
    assert ends(pids)


def test_the_death_of_dreamr_ends_all_processes_of_both_servers(file: Path, folder: Path) -> None:
    state = up(file)
    pids = {state.pid, *marked(folder)}
    os.kill(state.pid, signal.SIGKILL)
    assert ends(pids)


@pytest.mark.parametrize("name", list(ROLES))
def test_a_killed_server_comes_back_and_the_gateway_answers(file: Path, name: str) -> None:
    state = up(file)
    pid = state.models[name].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    restarted(name)
    wait_until_ready(state)
    assert ask(state)
    dreamr("down", file)


def test_a_killed_guard_takes_its_server_along_and_both_come_back(file: Path, folder: Path) -> None:
    state = up(file)
    for guard in (pid for pid, is_guard in marked(folder).items() if is_guard):
        os.kill(guard, signal.SIGKILL)
    for name in ROLES:
        assert restarted(name).models[name].pid != state.models[name].pid
    dreamr("down", file)


def test_replicas_answer_behind_a_router_and_are_down_again(replicated: Path, folder: Path) -> None:
    state = up(replicated)
    assert {name: model.engine == "router" for name, model in state.models.items()} == {
        "big.1": False,
        "big.2": False,
        "big": True,
        "small": False,
    }
    assert ask(state)
    pids = {state.pid, *marked(folder)}
    dreamr("down", replicated)
    assert ends(pids)


def test_the_other_replica_answers_until_a_killed_one_comes_back(replicated: Path) -> None:
    state = up(replicated)
    pid = state.models["big.1"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert ask(state)
    restarted("big.1")
    dreamr("down", replicated)


def test_a_killed_router_comes_back_and_the_gateway_answers(replicated: Path) -> None:
    state = up(replicated)
    pid = state.models["big"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    restarted("big")
    wait_until_ready(state)
    assert ask(state)
    dreamr("down", replicated)
