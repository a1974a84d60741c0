"""A model server with scripted answers that takes the command line of vLLM.

    engine_program.py [--fail TEXT] serve MODEL --host HOST --port PORT [...]

It serves the scripted model of benchmarks/scripted_server.py, or prints a text and exits.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_SCRIPTED = Path(__file__).parents[2] / "benchmarks" / "scripted_server.py"


async def _health(_: Request) -> Response:
    return PlainTextResponse("")


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail")
    parser.add_argument("serve")
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    options, _ = parser.parse_known_args()
    if options.fail is not None:
        print(options.fail, flush=True)
        sys.exit(1)
    model: Any = runpy.run_path(str(_SCRIPTED))["Model"](0.0)
    routes = [
        Route("/health", _health),
        Route("/v1/models", model.models),
        Route("/v1/chat/completions", model.chat, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), host=options.host, port=options.port, log_level="info")


if __name__ == "__main__":
    main()
