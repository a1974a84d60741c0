"""The endpoints `/v1/files`: upload, list, describe, read and delete files."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import URL
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dreamr._option_specs import listed
from dreamr.serving.gateway.body import BODY_SECONDS, content_length, receive_piece, too_large
from dreamr.serving.gateway.content_parts import file_name
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.errors import ApiError, bad_request, shortened
from dreamr.serving.gateway.keys import ApiKeys
from dreamr.serving.gateway.quotas import Quotas
from dreamr.serving.gateway.shared_files import StoredFile
from dreamr.serving.gateway.stored_files import FileStore, Upload
from dreamr.serving.options import ServeOptions

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_FIELDS = 16  # parts of a form
_FIELD_BYTES = 1024  # of a part that is not the file
_HEADER_BYTES = 4096  # of the headers of a part
_PURPOSE = "user_data"


@dataclass(frozen=True, slots=True)
class Files:
    """The endpoints.

    Attributes:
        store: The files.
        options: Limits of the gateway.
        keys: Accepted API keys.
        quotas: Limits of single clients.
        draining: Whether the gateway is about to stop.
    """

    store: FileStore
    options: ServeOptions
    keys: ApiKeys
    quotas: Quotas
    draining: Draining

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files", self.all, methods=["GET"]),
            Route("/v1/files/{id}", self.one, methods=["GET"]),
            Route("/v1/files/{id}", self.delete, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self.content, methods=["GET"]),
        ]

    async def upload(self, request: Request) -> Response:
        """Store a file that is sent as a form."""
        client = self.keys.client(request)
        self._check_origin(request)
        self.draining.check()
        async with self.quotas.request(client.name, client.limits) as quota:
            async with self.store.upload(client.name) as upload:
                try:
                    file = await _receive(request, upload, self.options)
                except ClientDisconnect:
                    return Response(status_code=499)  # the client is gone
            return JSONResponse(file.to_json(), headers=quota.headers)

    async def all(self, request: Request) -> Response:
        """List the files of the client."""
        client = self.keys.client(request)
        files = [file.to_json() for file in await self.store.of(client.name)]
        ids = [file["id"] for file in files]
        ends = {"first_id": ids[0], "last_id": ids[-1]} if ids else {}
        return JSONResponse({"object": "list", "data": files, "has_more": False, **ends})

    async def one(self, request: Request) -> Response:
        """Describe a file."""
        return JSONResponse((await self._find(request)).to_json())

    async def delete(self, request: Request) -> Response:
        """Delete a file."""
        file = await self._find(request)
        await self.store.delete(file.id, file.owner)
        return JSONResponse({"id": file.id, "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        """Return the content of a file."""
        data = await self.store.content(await self._find(request))
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    async def _find(self, request: Request) -> StoredFile:
        return await self.store.find(request.path_params["id"], self.keys.client(request).name)

    def _check_origin(self, request: Request) -> None:
        """Refuse forms of other web pages, which browsers send without asking the gateway.

        Raises:
            ApiError: If the page is not the gateway's own and not one that may call it (403).
        """
        origin = request.headers.get("origin")
        allowed = listed(self.options.allowed_origins)
        if origin is None or "*" in allowed or origin in allowed:
            return
        if URL(origin).netloc != request.headers.get("host", ""):
            raise ApiError(
                403,
                f"pages of {shortened(origin)} may not upload files: add it to --allowed-origins",
                code="origin_not_allowed",
            )


@dataclass(slots=True)
class _Form:
    """What has arrived of a form.

    Attributes:
        values: Parts that are not the file.
        file: Name of the file; None before its part.
        pieces: Content of the file that is not written yet.
    """

    values: dict[str, bytes] = field(default_factory=dict)
    file: str | None = None
    pieces: list[bytes] = field(default_factory=list)
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _name: bytes = b""
    _value: bytes = b""
    _field: str | None = None  # name of the current part; None if it is the file
    _parts: int = 0
    ended: bool = False

    def callbacks(self) -> MultipartCallbacks:
        """Return the functions that the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": partial(self._header, "_name"),
            "on_header_value": partial(self._header, "_value"),
            "on_header_end": self._end_header,
            "on_headers_finished": self._start_part,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers = {}
        self._parts += 1
        if self._parts > _FIELDS:
            raise bad_request(f"the form has more than {_FIELDS} fields")

    def _header(self, part: str, data: bytes, start: int, end: int) -> None:
        value = getattr(self, part) + data[start:end]
        if len(value) > _HEADER_BYTES:
            raise bad_request("a field of the form has a header that is too long")
        setattr(self, part, value)

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _start_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "file":
            if self.file is not None:
                raise bad_request("the form has more than one file: upload one at a time", "file")
            given = options.get(b"filename", b"").decode("utf-8", "replace")
            self.file, self._field = file_name(given) or "file", None
        else:
            self._field = name
            self.values[name] = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self.pieces.append(data[start:end])
            return
        value = self.values[self._field] + data[start:end]
        if len(value) > _FIELD_BYTES:
            raise bad_request(f"{shortened(self._field)} is too long", self._field[:80])
        self.values[self._field] = value

    def _end(self) -> None:
        self.ended = True

    def text(self, name: str) -> str | None:
        """Return the value of a field, None if it is not there."""
        value = self.values.get(name)
        return None if value is None else value.decode("utf-8", "replace").strip()


async def _receive(request: Request, upload: Upload, limits: ServeOptions) -> StoredFile:
    """Read a form with a file and store the file.

    Raises:
        ApiError: If the form is invalid, too large, too slow, or there is no room for the file.
        ClientDisconnect: If the client disconnects.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
        raise ApiError(415, "the request body must be a form: multipart/form-data with a file")
    if content_length(request) > limits.max_body:
        raise too_large(limits.max_body, limits)
    form = _Form()
    parser = MultipartParser(boundary, form.callbacks())
    size, end, more = 0, time.perf_counter() + BODY_SECONDS, True
    while more:
        data, more = await receive_piece(request, end)
        size += len(data)
        if size > limits.max_body:
            raise too_large(limits.max_body, limits)
        try:
            parser.write(data)
        except FormParserError as error:
            raise bad_request("the request body is not a valid form") from error
        if form.pieces:
            await upload.write(b"".join(form.pieces))
            form.pieces.clear()
    if not form.ended:
        raise bad_request("the form is incomplete: the end of the last field is missing")
    if form.file is None:
        raise bad_request("file is required: send the content of a file", "file")
    return await upload.keep(form.file, _purpose(form), _seconds(form))


def _purpose(form: _Form) -> str:
    return (form.text("purpose") or _PURPOSE)[:64]


def _seconds(form: _Form) -> int | None:
    """Return the seconds after which the client wants its file deleted."""
    name = "expires_after[seconds]"
    given = form.text(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and int(given) > 0):
        raise bad_request(f"{name} must be a number of seconds", name)
    return int(given)
