"""A gateway with scripted models and an ASGI client, without sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from starlette.types import ASGIApp

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.serving.gateway import ServedPair, build_app
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.options import ServeOptions
from dreamr.speech import OpenTranscriber, open_transcriber
from support.pairs import QUESTION, Pair

Found = TypeVar("Found")
Json = dict[str, Any]
CHAT = "/v1/chat/completions"


def asked(content: Any = QUESTION, **more: Any) -> Json:
    return {"model": "dreamr", "messages": [{"role": "user", "content": content}], **more}


@dataclass
class Answer:
    """Response to a request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def chunks(self) -> list[Json]:
        """Events of a stream without the last one, which must be [DONE]."""
        *events, done = [e[6:] for e in self.body.decode().split("\n\n") if e.startswith("data: ")]
        assert done == "[DONE]"
        return [json.loads(event) for event in events]

    def said(self, name: str) -> str:
        """Return the text of one field of a stream."""
        choices = [choice for chunk in self.chunks for choice in chunk.get("choices", ())]
        return "".join(choice["delta"].get(name) or "" for choice in choices)


@dataclass
class Gateway:
    app: ASGIApp
    reasoner: Reasoner
    pair: Pair
    load: Load

    async def ask(
        self,
        body: Json | bytes | None = None,
        path: str = CHAT,
        method: str = "POST",
        leave: anyio.Event | None = None,
        heard: Callable[[Answer], None] | None = None,
        pieces: Iterable[bytes] | None = None,
        receive: Callable[[], Awaitable[Json]] | None = None,
        client: str = "10.0.0.1",
        **headers: str,
    ) -> Answer:
        """Send one request.

        Args:
            body: JSON value or bytes.
            path: Path of the URL.
            method: HTTP method.
            leave: When set, the client disconnects.
            heard: Called with the answer after each message of it.
            pieces: Parts of the body, instead of `body`.
            receive: ASGI messages of the client, instead of all others.
            client: Address of the client.
            headers: Additional headers.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        parts = iter([raw] if pieces is None else pieces)
        upcoming = next(parts, b"")
        sent, answer = False, Answer()

        async def usual() -> Json:
            nonlocal upcoming, sent
            if sent:
                await (leave.wait() if leave else anyio.sleep_forever())
                return {"type": "http.disconnect"}
            piece, upcoming = upcoming, next(parts, None)
            sent = upcoming is None
            return {"type": "http.request", "body": piece, "more_body": not sent}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                answer.ended = not message.get("more_body", False)
            if heard is not None:
                heard(answer)
            await anyio.lowlevel.checkpoint()

        known = {"host": "127.0.0.1", "content-type": "application/json"}
        known |= {name.replace("_", "-"): value for name, value in headers.items()}
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
            "headers": [(k.encode(), v.encode()) for k, v in known.items()],
            "client": (client, 1234), "server": ("127.0.0.1", 8500),
        }  # fmt: skip
        await self.app(scope, receive or usual, send)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask(b"", path, "GET", **headers)

    @property
    def open_streams(self) -> int:
        return sum(engine.open_streams for engine in self.pair.opened.values())


def app_of(reasoner: Reasoner, options: ServeOptions | None = None, **more: Any) -> ASGIApp:
    """Build a gateway for one pair without load control."""
    options = options or ServeOptions()
    pair = ServedPair.of(options.served_model_name, reasoner, options, load=Load(aware=False))
    return build_app([pair], options, **more)


@asynccontextmanager
async def gateway(
    pair: Pair | None = None,
    options: RunOptions | None = None,
    media: MediaFetcher | None = None,
    load: Load | None = None,
    open_transcriber: OpenTranscriber = open_transcriber,
    **limits: Any,
) -> AsyncIterator[Gateway]:
    # Load control would stop speculation: scripted models take no time.
    pair, load = pair or Pair(), load or Load(aware=False)
    allowed = ServeOptions(**limits)
    chosen = options or RunOptions(deterministic=True)
    async with Reasoner(chosen, open_model=pair, open_transcriber=open_transcriber) as reasoner:
        served = ServedPair.of(allowed.served_model_name, reasoner, allowed, load=load)
        app = build_app([served], allowed, media=media)
        yield Gateway(app, reasoner, pair, load)


def use(
    work: Callable[[Gateway], Awaitable[Found]],
    pair: Pair | None = None,
    bound: float = 30,
    run: Callable[[Callable[[], Awaitable[Found]]], Found] = anyio.run,
    **more: Any,
) -> Found:
    """Run `work` with a new gateway and return its result; fail after `bound` seconds.

    `run` is what runs the event loop.
    """

    async def main() -> Found:
        with anyio.fail_after(bound):
            async with gateway(pair, **more) as gate:
                return await work(gate)

    return run(main)


def answer(body: Json | bytes, pair: Pair | None = None, **more: Any) -> Answer:
    """Return the answer to one request."""
    return use(lambda gate: gate.ask(body), pair, **more)
