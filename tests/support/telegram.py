"""An imitation of Telegram's Bot API: what a bot polls, sends, edits and downloads."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dreamr.serving.gateway import listen
from dreamr.serving.options import ServeOptions

TOKEN = "123:ABC"
CHAT = {"id": 7, "type": "private"}
_POLL = 0.02  # seconds between two looks for updates
_SECONDS = 30.0


@dataclass
class Telegram:
    """The state of the imitation.

    Attributes:
        files: Contents by file id.
        chat: Chat in which the user writes.
        busy: Number of edits to answer with status 429.
        texts: Texts of the bot's messages by id, as they are now.
        edits: Texts of all edits.
        calls: Names of the methods that were called.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    chat: int = 7
    busy: int = 0
    texts: dict[int, str] = field(default_factory=dict)
    edits: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _sent: int = 0
    _updates: list[dict[str, Any]] = field(default_factory=list)

    def open_chat(self) -> None:
        """Begin a chat of another user, and forget what the bot has written in others."""
        self.chat += 1
        for written in (self.texts, self.edits, self.calls):
            written.clear()

    def say(self, text: str | None = None, **more: Any) -> None:
        """Send a message of the user to the bot."""
        number = len(self._updates) + 1
        message = {
            "message_id": 1000 + number,
            "date": int(time.time()),
            "chat": {**CHAT, "id": self.chat},
            "from": {"id": self.chat, "is_bot": False, "first_name": "Ada"},
            **({} if text is None else {"text": text}),
            **more,
        }
        if text and text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
        self._updates.append({"update_id": number, "message": message})

    def attach(self, name: str, data: bytes) -> dict[str, Any]:
        """Return the description of a file that the bot can download."""
        self.files[name] = data
        return {"file_id": name, "file_unique_id": name, "file_size": len(data)}

    def wait(self, text: str) -> str:
        """Return the bot's first message with this text in it, once there is one."""
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            for found in list(self.texts.values()):
                if text in found and not found.endswith(" …"):
                    return found
            time.sleep(_POLL)
        raise AssertionError(f"no message with {text!r} in {self.texts}")

    async def handle(self, request: Request) -> Response:
        """Answer a call of the bot."""
        method = request.path_params["method"]
        values: dict[str, Any] = dict(await request.form())
        self.calls.append(method)
        match method:
            case "getMe":
                return _ok({"id": 1, "is_bot": True, "first_name": "dreamr", "username": "d_bot"})
            case "getUpdates":
                return _ok(await self._next(int(values.get("offset", 0))))
            case "sendMessage":
                self._sent += 1
                self.texts[self._sent] = values["text"]
                return _ok(self._message(self._sent, values))
            case "editMessageText":
                if self.busy:
                    self.busy -= 1
                    return _refused(429, "Too Many Requests", {"retry_after": 1})
                number = int(values["message_id"])
                if number in self.texts:  # else of a chat before this one
                    self.edits.append(values["text"])
                    self.texts[number] = values["text"]
                return _ok(self._message(number, values))
            case "getFile":
                name = values["file_id"]
                if name not in self.files:
                    return _refused(400, "Bad Request: wrong file_id", {})
                return _ok({"file_id": name, "file_unique_id": name, "file_path": name})
        return _ok(True)

    async def download(self, request: Request) -> Response:
        """Return the content of a file."""
        return Response(self.files[request.path_params["name"]])

    async def _next(self, offset: int) -> list[dict[str, Any]]:
        for _ in range(10):
            if found := [one for one in self._updates if one["update_id"] >= offset]:
                return found
            await asyncio.sleep(_POLL)
        return []

    def _message(self, number: int, values: dict[str, Any]) -> dict[str, Any]:
        chat = {**CHAT, "id": int(values["chat_id"])}
        return {"message_id": number, "date": 1, "chat": chat, "text": values["text"]}


@contextmanager
def telegram() -> Iterator[tuple[Telegram, str]]:
    """Run the imitation, and yield it with its address."""
    state = Telegram()
    routes = [
        Route(f"/bot{TOKEN}/{{method}}", state.handle, methods=["GET", "POST"]),
        Route(f"/file/bot{TOKEN}/{{name}}", state.download),
    ]
    link = listen(ServeOptions(port=0))
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [link]}, daemon=True)
    with link:
        thread.start()
        try:
            yield state, f"http://127.0.0.1:{link.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def _ok(result: Any) -> Response:
    return JSONResponse({"ok": True, "result": json.loads(json.dumps(result))})


def _refused(status: int, why: str, parameters: dict[str, Any]) -> Response:
    body = {"ok": False, "error_code": status, "description": why, "parameters": parameters}
    return JSONResponse(body, status)
