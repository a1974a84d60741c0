"""vLLM's router keeps a conversation at one server, with the arguments that dreamr gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import anyio
import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines.http.sessions import Sessions
from dreamr.serving.launch.joining import join
from dreamr.serving.launch.ports import HOST, free_port
from dreamr.serving.launch.router import router_arguments

pytestmark = pytest.mark.server
LATER = (Turn("assistant", (Text("Five."),)), Turn("user", (Text("And of books?"),)))


@contextmanager
def backend(number: int, port: int | None = None) -> Iterator[str]:
    """Yield the address of a server that tells its number."""

    async def answer(_: Request) -> JSONResponse:
        return JSONResponse({"id": str(number), "object": "list", "data": [{"id": "m"}]})

    port = port or free_port()
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def test_turns_of_a_conversation_reach_the_server_of_the_first(
    run_router: Callable[[Sequence[str], int], str],
) -> None:
    port = free_port()
    with ExitStack() as stack:
        backends = [stack.enter_context(backend(number)) for number in range(2)]
        url = run_router(router_arguments(backends, HOST, port, free_port()), port)
        client = stack.enter_context(httpx2.Client(base_url=url, timeout=20))

        def server_of(talk: Conversation) -> str:
            body = {"model": "m", "messages": [{"role": "user", "content": "How many?"}]}
            headers = {"X-Session-Id": Sessions().name(talk)}  # each in another gateway
            answer = client.post("/v1/chat/completions", json=body, headers=headers)
            return str(answer.raise_for_status().json()["id"])

        talks = [Conversation.from_prompt(f"How many pens are {n} pens?") for n in range(13)]
        first = [server_of(talk) for talk in talks]
        later = [server_of(Conversation(talk.turns + LATER)) for talk in talks]
    assert later == first
    assert set(first) == {"0", "1"}


def test_a_router_serves_with_one_server_until_the_other_joins(
    run_router: Callable[[Sequence[str], int], str],
) -> None:
    port, second = free_port(), free_port()
    url = run_router(router_arguments((), HOST, port, free_port()), port)

    async def asked() -> set[str]:
        """Return the servers that answer some sessions."""
        body = {"model": "m", "messages": [{"role": "user", "content": "How many?"}]}
        async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
            path = "/v1/chat/completions"
            answers = [
                await client.post(path, json=body, headers={"X-Session-Id": f"session {number}"})
                for number in range(24)
            ]
        return {answer.raise_for_status().json()["id"] for answer in answers}

    async def main(first: str) -> None:
        ready, joined, missing = anyio.Event(), anyio.Event(), [first]

        def is_ready(left: Sequence[str]) -> None:
            missing[:] = left
            ready.set()

        servers = [first, f"http://{HOST}:{second}"]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(join, url, servers, is_ready, lambda _: joined.set())
                await ready.wait()
                assert missing == servers[1:]
                assert await asked() == {"0"}
                with backend(1, second):
                    await joined.wait()
                    assert await asked() == {"0", "1"}

    with backend(0) as first:
        anyio.run(main, first)
