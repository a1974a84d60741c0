"""The processes of soak.py: scripted model servers, and gateways with measurements of them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2

DEADLINE = 60.0  # seconds of a request
HERE = Path(__file__).parent


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as link:
        return int(link.getsockname()[1])


@dataclass
class ModelServer:
    """A scripted model server that can be killed, started and stopped."""

    seconds: float
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server."""
        command = [sys.executable, str(HERE / "scripted_server.py"), str(self.port)]
        self.process = subprocess.Popen([*command, "--token-seconds", str(self.seconds)])

    def signal(self, number: int) -> None:
        """Send a signal to the server."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the server."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def answering(self) -> None:
        """Wait until the server answers."""
        async with httpx2.AsyncClient() as client:
            with anyio.fail_after(60):
                while True:
                    try:
                        await client.get(f"http://127.0.0.1:{self.port}/v1/models")
                        return
                    except httpx2.TransportError:
                        await anyio.sleep(0.1)


@dataclass
class Gateway:
    """A gateway in a process of its own, with measurements of it.

    Attributes:
        name: Name in the output.
        process: The process.
        log: File with its log.
        url: Its URL.
        memory: Resident memory in MB, once per second.
        files: Open descriptors, once per second.
        outcomes: Number of requests by kind of client and outcome.
        slowest: Seconds of the slowest request by kind of client.
        faults: What must not happen, in words.
        late: Seconds after its deadline at which each answer of a hasty client arrived.
        tasks: Tasks of the event loop before and after.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""
    memory: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)

    async def count_tasks(self) -> None:
        """Note the number of tasks."""
        async with httpx2.AsyncClient(base_url=self.url) as client:
            text = (await client.get("/metrics")).text
        found = re.search(r"^dreamr:tasks (\S+)", text, re.MULTILINE)
        assert found is not None
        self.tasks.append(int(float(found[1])))

    async def answering(self) -> None:
        """Wait until the gateway has printed its address."""
        with anyio.fail_after(180):
            while not (found := re.search(r"base URL (\S+)/v1", self.log.read_text())):
                if self.process.poll() is not None:
                    raise RuntimeError(self.log.read_text())
                await anyio.sleep(0.1)
        self.url = found[1]

    def measure(self) -> None:
        """Take one measurement."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        self.memory.append(int(found[1]) / 1024)
        self.files.append(len(os.listdir(f"/proc/{self.process.pid}/fd")))

    def workers(self) -> list[int]:
        """Return the process ids of the workers of local models."""
        return [child for parent in _children(self.process.pid) for child in _children(parent)]

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        """Count the outcome of a request."""
        self.outcomes[kind, outcome] += 1
        self.slowest[kind] = max(seconds, self.slowest.get(kind, 0.0))


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in os.listdir(f"/proc/{pid}/task")
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        ]
    except FileNotFoundError:  # it has ended meanwhile
        return []


@contextmanager
def gateway(name: str, folder: Path, *flags: str) -> Iterator[Gateway]:
    """Run `dreamr serve` with flags."""
    keys = folder / f"{name}.keys"
    keys.write_text("usual name=usual\nflood name=flood running=6 requests=600 tokens=20000\n")
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "dreamr", "serve", "--port", "0", "--keys-file", str(keys)]
    limits = ["--deadline", str(DEADLINE), "--max-running", "8", "--drain", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *limits, *flags], stderr=file)
    try:
        yield Gateway(name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
