"""From the bytes of a request to a checked value, without holding up other requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Api, Sender
from dreamr.serving.gateway.apis.responses import ResponsesApi, ResponseStore, previous_response
from dreamr.serving.gateway.body import read_body
from dreamr.serving.gateway.errors import bad_request, timed_out
from dreamr.serving.gateway.media import MediaFetcher, ReceivedMessage
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.gateway.served_models import ServedModels
from dreamr.serving.options import ServeOptions

Found = TypeVar("Found")

_QUICK_BYTES = 2**18  # bodies up to this size are parsed in the event loop


class Receiver:
    """Reads requests of every API.

    Args:
        served: The models that requests can name.
        options: Limits of the gateway.
        media: Takes the attachments of requests.
        responses: Responses that requests continue.
    """

    def __init__(
        self,
        served: ServedModels,
        options: ServeOptions,
        media: MediaFetcher,
        responses: ResponseStore,
    ) -> None:
        self._served, self._options, self._media = served, options, media
        self._responses = responses
        # One thread at a time, which leaves the interpreter's lock to the event loop.
        self._thread = anyio.CapacityLimiter(1)

    async def read(self, request: Request, lease: Lease, deadline: float) -> bytearray:
        """Read the body of a request.

        Args:
            request: The request.
            lease: Takes the memory that is needed.
            deadline: Time (`time.perf_counter`) by which the body must be complete.

        Raises:
            ApiError: If the request is refused.
            ClientDisconnect: If the client disconnects.
        """
        return await read_body(request, self._options, lease, deadline)

    async def parse(self, body: bytearray, api: Api, lease: Lease) -> ParsedRequest:
        """Check the body of a request, which is empty afterwards.

        Args:
            body: JSON text.
            api: The API that it came by.
            lease: Takes the memory that is needed.

        Raises:
            DreamrError: If the request is refused.
        """
        sender = Sender(lease.client, self._served.options_of, self._options)
        if isinstance(api, ResponsesApi) and (name := previous_response(body)) is not None:
            sender = replace(sender, earlier=await self._responses.find(name, lease.client))
        if len(body) <= _QUICK_BYTES:
            parsed = api.read(body, sender)
        else:
            parsed = await anyio.to_thread.run_sync(api.read, body, sender, limiter=self._thread)
        body.clear()
        self._check_roles(parsed)
        if parsed.recalled:
            lease.take_body(parsed.recalled)
        return parsed

    async def receive(
        self, parsed: ParsedRequest, lease: Lease, began: float, request: Request | None = None
    ) -> tuple[ParsedRequest, tuple[ReceivedMessage, ...]]:
        """Receive the attachments of a request, some from other hosts.

        Args:
            parsed: The request with its deadline.
            lease: Takes the memory that is needed.
            began: Time of the request (`time.perf_counter`).
            request: The request of a client that may disconnect; None if no client waits.

        Returns:
            The request without its messages, and the messages, which hold attachments as files.

        Raises:
            ApiError: If the request is refused, or its deadline has passed (504).
            ConversationError: If the messages are not a prompt that can be answered.
            ClientDisconnect: If the client disconnects.
        """
        receive = partial(self._media.receive, parsed.turns, lease, parsed.tools)
        with anyio.move_on_after(max(0.0, began + parsed.deadline - time.perf_counter())):
            messages = await (receive() if request is None else _until_left(request, receive))
            return replace(parsed, turns=()), messages
        raise timed_out(parsed.deadline)

    def _check_roles(self, parsed: ParsedRequest) -> None:
        models = self._served.runs_of(parsed.model).pair.reasoner.models
        missing = set(parsed.options.roles) - models.keys()
        if missing:
            raise bad_request(
                f"method {parsed.options.method} needs the {' and the '.join(sorted(missing))}, "
                "which this gateway has not loaded",
                "dreamr.method",
            )


async def _until_left(request: Request, work: Callable[[], Awaitable[Found]]) -> Found:
    """Return what `work` returns; cancel it when the client disconnects.

    Raises:
        ClientDisconnect: If the client disconnects first.
        Exception: The failure of `work`, not wrapped in a group.
    """
    found: list[Found] = []
    failures: list[Exception] = []

    async def worker() -> None:
        try:
            found.append(await work())
        except Exception as error:  # the task group would wrap it in an exception group
            failures.append(error)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker)
        while (await request.receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not found:
        raise ClientDisconnect
    return found[0]
