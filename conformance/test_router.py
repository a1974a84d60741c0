"""vLLM's router keeps a conversation at one server, with the arguments that dreamr gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines.http.sessions import Sessions
from dreamr.serving.launch.ports import HOST, free_port
from dreamr.serving.launch.router import router_arguments

pytestmark = pytest.mark.server
LATER = (Turn("assistant", (Text("Five."),)), Turn("user", (Text("And of books?"),)))


@contextmanager
def backend(number: int) -> Iterator[str]:
    """Yield the address of a server that tells its number."""

    async def answer(_: Request) -> JSONResponse:
        return JSONResponse({"id": str(number), "object": "list", "data": [{"id": "m"}]})

    port = free_port()
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
