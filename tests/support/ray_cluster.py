"""A Ray cluster on this machine, with gateway replicas that `dreamr deploy ray` configures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import yaml

from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import deployment_files, write_files
from dreamr.serving.launch.ports import free_port

ROOT = Path(__file__).parents[2]
PROCESSORS = 8  # logical ones: replicas wait most of the time
_REPLICA = "ray::ServeReplica:dreamr:Gateway"


class Cluster:
    """A cluster with one node.

    Args:
        ray: Virtual environment with Ray.
        folder: Folder for logs and files, with a short path.
        servers: URLs of target and draft.
    """

    def __init__(self, ray: Path, folder: Path, *servers: str) -> None:
        self._ray, self.folder, self.port, self._mark = ray, folder, free_port(), uuid4().hex
        self.url = f"http://127.0.0.1:{self.port}"
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "testbed" / "src")])
        self._environment = {
            **os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled", "DREAMR_TEST_MARK": self._mark,
        }  # fmt: skip
        pair = folder / "pair.yaml"
        models = {role: {"url": url} for role, url in zip(("big", "small"), servers, strict=True)}
        values = {
            "models": models,
            "pairs": {"dreamr": {"target": "big", "draft": "small"}},
            "gateway": {"port": self.port, "max_running": 8, "deadline": 90, "grace": 5},
        }
        pair.write_text(yaml.safe_dump(values))
        file = read_pair_file(pair)
        write_files(deployment_files(file, "ray"), folder / "ray", file)
        self._node = 0
        self._gcs = free_port()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the cluster for the block."""
        program = str(self._ray / "bin" / "ray")
        command = [
            program, "start", "--head", "--block", "--num-cpus", str(PROCESSORS),
            "--port", str(self._gcs), "--include-dashboard", "false", "--disable-usage-stats",
            "--temp-dir", str(self.folder / "t"), "--object-store-memory", "100000000",
        ]  # fmt: skip
        with (self.folder / "ray.log").open("wb") as log:
            node = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        try:
            yield
        finally:
            node.terminate()
            with suppress(subprocess.TimeoutExpired):
                node.wait(10)
            for process in self._processes(""):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            node.wait(10)

    def deploy(self, **scaling: Any) -> None:
        """Deploy the gateway, and wait until it answers.

        Args:
            scaling: Settings of the autoscaler that differ from those of `dreamr deploy ray`.
        """
        path = self.folder / "ray" / "serve.yaml"
        config = yaml.safe_load(path.read_text())
        (application,) = config["applications"]
        (deployment,) = application["deployments"]
        deployment["autoscaling_config"] |= scaling
        deployment["ray_actor_options"] = {"num_cpus": 0.1}
        given = self.folder / "serve.yaml"
        given.write_text(yaml.safe_dump(config))
        serve = [str(self._ray / "bin" / "serve"), "run", "--address", f"127.0.0.1:{self._gcs}"]
        environment = {**self._environment, "RAY_ADDRESS": f"127.0.0.1:{self._gcs}"}
        with (self.folder / "serve.log").open("ab") as log:
            command = [*serve, "--non-blocking", str(given)]
            subprocess.run(
                command, stdout=log, stderr=log, env=environment, timeout=120, check=True
            )
        self.until(lambda: self.status() == "ready", 120)

    def change(self, **gateway: Any) -> None:
        """Change options of the gateway in the files of the deployment."""
        path = self.folder / "ray" / "serve.yaml"
        config = yaml.safe_load(path.read_text())
        config["applications"][0]["args"]["pair"]["gateway"] |= gateway
        path.write_text(yaml.safe_dump(config))

    def status(self) -> str | None:
        """Return what `/ready` says, None without an answer."""
        try:
            with urlopen(f"{self.url}/ready", timeout=5) as answer:
                return str(json.load(answer)["status"])
        except (OSError, ValueError):
            return None

    def replicas(self) -> set[int]:
        """Return the process ids of the gateway replicas."""
        return set(self._processes(_REPLICA))

    def logs(self) -> str:
        """Return the logs of all replicas."""
        found = (self.folder / "t").glob("session_2*/logs/serve/replica_*.log")
        return "\n".join(path.read_text(errors="replace") for path in found)

    def until(self, condition: Any, seconds: float) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds:g} s"
            time.sleep(0.2)

    def _processes(self, title: str) -> Iterator[int]:
        """Yield the processes of this cluster with a title."""
        mark = f"DREAMR_TEST_MARK={self._mark}".encode()
        for place in Path("/proc").iterdir():
            if not place.name.isdigit() or int(place.name) == os.getpid():
                continue
            try:
                if (place / "cmdline").read_text(errors="replace").startswith(title) and (
                    mark in (place / "environ").read_bytes()
                ):
                    yield int(place.name)
            except OSError:
                continue


@contextmanager
def cluster(ray: Path, *servers: str) -> Iterator[Cluster]:
    """Run a cluster with a gateway over two servers."""
    folder = Path(mkdtemp(prefix="dray-"))  # Ray's sockets need a short path
    try:
        found = Cluster(ray, folder, *servers)
        with found.running():
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)
