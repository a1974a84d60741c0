"""Container images, and how engines run in them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from dreamr._messages import short_path
from dreamr._option_specs import BadOption
from dreamr._version import __version__
from dreamr.serving.deploy.mounts import moved
from dreamr.serving.deploy.plan import EngineService, Plan, own_transcribers
from dreamr.serving.launch.program import EngineCommand

GATEWAY_IMAGE = f"dreamr:{__version__}"  # built by scripts/build-image
ROUTER_IMAGE = "vllm/vllm-router:latest"  # of python:3.12-slim, with curl
PROMETHEUS_IMAGE = "prom/prometheus:v3.5.0"
GRAFANA_IMAGE = "grafana/grafana:12.1.1"
CONFIG = "/etc/dreamr/config"  # folder of the gateway's pair file in its container
KEYS = "/etc/dreamr/keys"  # folder of its clients' keys, which cannot be mounted in the other
USER = 65532  # of the gateway

_GPU = {
    "vllm": "vllm/vllm-openai:latest",
    "sglang": "lmsysorg/sglang:latest",
    "llama.cpp": "ghcr.io/ggml-org/llama.cpp:server-cuda",
}
_CPU = {
    **_GPU,
    "vllm": "vllm/vllm-openai-cpu:latest",
    "llama.cpp": "ghcr.io/ggml-org/llama.cpp:server",
}
_PROGRAMS = {"llama-server": "/app/llama-server"}  # not on the path of its image


def check_transcribers(found: Plan) -> None:
    """Check that the gateway's image can transcribe where a pair wants it.

    Raises:
        BadOption: If a pair wants a transcriber in the process of the gateway.
    """
    for name, transcriber in own_transcribers(found.pair_file):
        raise BadOption(
            f"pair {name}: the gateway's image has no faster-whisper for the transcriber "
            f"{short_path(transcriber)}: start a server for it, and name its URL"
        )


def engine_image(engine: EngineService) -> str:
    """Return the image of an engine."""
    launch = engine.launch
    return (_CPU if launch.devices == () else _GPU)[launch.engine]


def contained(engine: EngineService, others: Collection[Path] = ()) -> EngineCommand:
    """Return the command of an engine in its container.

    Args:
        engine: The engine.
        others: Files and folders that are mounted beside the weights.
    """
    engine = moved(engine, others)
    command = engine.command(engine.launch.model, own_devices=True)
    program, *rest = command.arguments
    arguments = (_PROGRAMS.get(program, program), *rest)
    return EngineCommand(arguments, command.environment, command.install)
