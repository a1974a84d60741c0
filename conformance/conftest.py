"""Real servers for the whole test session, one thread each.

They are stopped at its end, whatever the outcome.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from dreamr_testbed import PAIR

from support.ray_cluster import Cluster, cluster

ROOT = Path(__file__).parents[1]
ENGINES = Path(os.environ.get("DREAMR_ENGINES") or ROOT / ".engines")
START_SECONDS = 480.0  # on a busy machine


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(command: list[str], port: int, log: Path) -> Iterator[str]:
    """Start a server and yield its root address once it is ready."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        _wait(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.5)
    tail = log.read_text(errors="replace")[-3000:]
    pytest.fail(f"the server did not start:\n{tail}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all",
        action="store_true",
        help="try every family of models, and Ray and restarts over vLLM",
    )


def vllm(model: Path, port: int) -> list[str]:
    if not (ENGINES / "vllm").is_dir():
        pytest.skip("vLLM is not installed")
    script = ROOT / "scripts" / "engines" / "serve-vllm"
    return [str(script), str(ENGINES / "vllm"), str(model), str(port)]


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def engines() -> Path:
    """Folder of the installed servers."""
    return ENGINES


@pytest.fixture(scope="session")
def target_url(logs: Path) -> Iterator[str]:
    port = free_port()
    command = [*vllm(PAIR / "target", port), "--enable-scale-out"]
    with serving(command, port, logs / "target.log") as root:
        yield root


@pytest.fixture(scope="session")
def draft_url(logs: Path) -> Iterator[str]:
    port = free_port()
    with serving(vllm(PAIR / "draft", port), port, logs / "draft.log") as root:
        yield root


@pytest.fixture(scope="session")
def speculating_url(logs: Path) -> Iterator[str]:
    """The target, with guesses from the text."""
    guesses = {
        "method": "ngram",
        "num_speculative_tokens": 5,
        "prompt_lookup_min": 2,
        "prompt_lookup_max": 4,
    }
    port = free_port()
    command = [*vllm(PAIR / "target", port), "--speculative-config", json.dumps(guesses)]
    with serving(command, port, logs / "speculating.log") as root:
        yield root


def llama(model: Path, port: int, *flags: str) -> list[str]:
    return [
        str(ENGINES / "llama" / "llama-server"), "--model", str(model), "--host", "127.0.0.1",
        "--port", str(port), "-t", "1", "-tb", "1", "--ctx-size", "4096", "--parallel", "4",
        "--metrics", "--jinja", *flags,
    ]  # fmt: skip


@contextmanager
def llama_pair(log: Path, *flags: str, port: int | None = None) -> Iterator[str]:
    """Serve the target of the embedded pair, which sees, by llama.cpp."""
    folder, port = ENGINES / "pair-gguf", port or free_port()
    tower = ("--mmproj", str(folder / "target-tower.gguf"))
    with serving(llama(folder / "target.gguf", port, *tower, *flags), port, log) as root:
        yield root


@pytest.fixture(scope="session")
def llama_url(logs: Path) -> Iterator[str]:
    port = free_port()
    # Its quantized products end with an illegal instruction on processors with AMX otherwise.
    command = llama(ENGINES / "llama" / "model.gguf", port, "--no-repack")
    with serving(command, port, logs / "llama.log") as root:
        yield root


@pytest.fixture(scope="session")
def llama_pair_url(logs: Path) -> Iterator[str]:
    with llama_pair(logs / "llama-pair.log") as root:
        yield root


THINKING = ("--chat-template-file", str(Path(__file__).parent / "thinking.jinja"))


@pytest.fixture(scope="session")
def llama_thinking_url(logs: Path) -> Iterator[str]:
    with llama_pair(logs / "llama-thinking.log", *THINKING) as root:
        yield root


@pytest.fixture
def restarting(logs: Path) -> Callable[..., AbstractContextManager[str]]:
    """A function that serves the pair with a thinking template, always on the same port."""
    port = free_port()

    def start(*flags: str) -> AbstractContextManager[str]:
        return llama_pair(logs / "llama-restarted.log", *THINKING, *flags, port=port)

    return start


@pytest.fixture(scope="session")
def llama_speculating_url(logs: Path) -> Iterator[str]:
    draft = ("--spec-draft-model", str(ENGINES / "pair-gguf" / "draft.gguf"))
    with llama_pair(logs / "llama-spec.log", "--spec-type", "draft-simple", *draft) as root:
        yield root


@pytest.fixture(scope="module")
def family(request: pytest.FixtureRequest, logs: Path) -> Iterator[tuple[str, str]]:
    """A family, with the server's flags if there are any, and the address of a small random model.

    The model is built on first use. The server keeps one megabyte of images, so that tests can push
    an image out; the features of a sound alone are larger.
    """
    name, *flags = request.param.split()
    port, folder = free_port(), ENGINES / "tiny" / name
    if name == "qwen3_5":
        flags += ["--dtype", "bfloat16"]  # vLLM does not support float32 there
    cache = "0.05" if "audio" in name else "0.001"  # GB
    command = [*vllm(folder, port), "--mm-processor-cache-gb", cache, *flags]
    if not (folder / "config.json").is_file():
        script = Path(__file__).with_name("tiny_models.py")
        python = ENGINES / "vllm" / "bin" / "python"
        subprocess.run([python, script, name, folder], check=True, timeout=300)
    with serving(command, port, logs / f"{name}.log") as root:
        yield request.param, root


@pytest.fixture(scope="module")
def ray(request: pytest.FixtureRequest, logs: Path) -> Iterator[Cluster]:
    """Yield a cluster over two servers that emulate models, or over two of vLLM."""
    if not (ENGINES / "ray" / "bin" / "serve").exists():
        pytest.skip("Ray is not installed: scripts/engines/install-ray")
    with ExitStack() as stack:
        urls = []
        for role in ("target", "draft"):
            port = free_port()
            command = [
                sys.executable, "-m", "dreamr_testbed.emulator", role, "--port", str(port),
                "--model", "32B" if role == "target" else "2B",
            ]  # fmt: skip
            if request.param == "vllm":
                command = vllm(PAIR / role, port)
            url = stack.enter_context(serving(command, port, logs / f"ray-{role}.log"))
            urls.append(f"{url}/v1")
        yield stack.enter_context(cluster(ENGINES / "ray", *urls))


@pytest.fixture
def run_router(logs: Path) -> Iterator[Callable[[Sequence[str], int], str]]:
    """Yield a function that runs vLLM's router with some arguments and returns its address."""
    program = ENGINES / "router" / "bin" / "vllm-router"
    if not program.exists():
        pytest.skip("vLLM's router is not installed: scripts/engines/install-router")
    with ExitStack() as stack:

        def run(arguments: Sequence[str], port: int) -> str:
            command = [str(program), *arguments]
            return stack.enter_context(serving(command, port, logs / "router.log"))

        yield run
