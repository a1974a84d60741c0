"""A router that takes the command line of vLLM's, for tests without that.

    router_program.py --host HOST --port PORT [...]

Servers are added by requests, which wait until they are healthy. The one for a request is chosen by
its session.
"""

from __future__ import annotations

import argparse
import asyncio
import zlib

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_POLL = 0.05  # seconds between two looks at a server that is starting


async def _wait(server: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        while not await _is_healthy(client, server):
            await asyncio.sleep(_POLL)


async def _is_healthy(client: httpx2.AsyncClient, server: str) -> bool:
    try:
        return (await client.get(f"{server}/health")).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def _app() -> Starlette:
    client = httpx2.AsyncClient(trust_env=False, timeout=60)
    servers: list[str] = []

    async def add(request: Request) -> Response:
        server = request.query_params["url"]
        await _wait(server)
        servers.append(server)
        return Response(f"Successfully added worker: {server}")

    async def forward(request: Request) -> Response:
        session = request.headers.get("x-session-id", "")
        server = servers[zlib.crc32(session.encode()) % len(servers)]
        answer = await client.request(
            request.method,
            f"{server}{request.url.path}",
            content=await request.body(),
            headers={"content-type": "application/json"},
        )
        kind = answer.headers.get("content-type")
        return Response(answer.content, answer.status_code, media_type=kind)

    return Starlette(
        routes=[
            Route("/add_worker", add, methods=["POST"]),
            Route("/{path:path}", forward, methods=["GET", "POST"]),
        ]
    )


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    options, _ = parser.parse_known_args()
    uvicorn.run(_app(), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
