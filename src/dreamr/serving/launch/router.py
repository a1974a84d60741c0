"""vLLM's router, which stands in front of several servers of one model."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dreamr._option_specs import BadOption
from dreamr.pairs import ModelEntry

ROUTER = "router"  # its name where others have that of their engine
ROUTER_ENVIRONMENT = {"RUST_LOG": "warn"}  # else it logs three lines for each request
ROUTER_PROGRAM = "vllm-router"
_STARTING_SECONDS = 1800  # that the servers have to load their weights, downloads included


def router_arguments(
    backends: Sequence[str], host: str, port: int, metrics_port: int | None = None
) -> tuple[str, ...]:
    """Return the arguments of the router, with which it keeps a session at one server.

    It listens when all servers are healthy. A server that fails later gets no requests until it is
    healthy again.

    Args:
        backends: Addresses of the servers, without /v1. None: it listens at once, and servers
            join it later; see `join`.
        host: Address on which the router listens.
        port: Port on which the router listens.
        metrics_port: Port of its metrics. None: its default, the same for all routers.
    """
    workers = ("--worker-urls", *backends) if backends else ()
    metrics = () if metrics_port is None else ("--prometheus-port", str(metrics_port))
    return (
        "--host", host, "--port", str(port),
        "--policy", "consistent_hash",  # by the header X-Session-Id
        *workers,
        "--worker-startup-timeout-secs", str(_STARTING_SECONDS),
        "--worker-startup-check-interval", "1",
        "--health-check-interval-secs", "5",
        "--request-timeout-secs", "3600",
        *metrics,
    )  # fmt: skip


def check_key(model: ModelEntry) -> None:
    """Check that the router passes the API key of a model on wherever its servers want it.

    It does so for /v1 and /inference, not for paths that it does not know, which vLLM does not
    guard and others do.

    Raises:
        BadOption: If it does not.
    """
    launch = model.launch
    if launch is not None and launch.engine != "vllm" and model.api_key is not None:
        raise BadOption(
            f"model {model.name}: vLLM's router does not pass API keys to all paths of "
            f"{launch.engine}: remove api_key or replicas"
        )


def find_router(model: str) -> str:
    """Return the router's program: on `PATH`, or beside Python.

    Args:
        model: Name of the model that needs it, for the message.

    Raises:
        BadOption: If it is not installed.
    """
    beside = str(Path(sys.executable).parent)
    found = shutil.which(ROUTER_PROGRAM) or shutil.which(ROUTER_PROGRAM, path=beside)
    if found is None:
        raise BadOption(
            f"model {model}: several servers of one model need vLLM's router, and there is no "
            f"program {ROUTER_PROGRAM}: pip install vllm-router, in an environment on PATH"
        )
    return found
