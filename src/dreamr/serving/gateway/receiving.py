"""From the bytes of a request to a checked value, without holding up other requests."""

from __future__ import annotations

from dataclasses import replace

import anyio
import anyio.to_thread
from starlette.requests import Request

from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Api, Sender
from dreamr.serving.gateway.apis.responses import ResponsesApi, ResponseStore, previous_response
from dreamr.serving.gateway.body import read_body
from dreamr.serving.gateway.errors import bad_request
from dreamr.serving.gateway.media import MediaFetcher, ReceivedMessage
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.gateway.served_models import ServedModels
from dreamr.serving.options import ServeOptions

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

    async def parse(
        self, body: bytearray, api: Api, lease: Lease
    ) -> tuple[ParsedRequest, tuple[ReceivedMessage, ...]]:
        """Check the body of a request, which is empty afterwards.

        Args:
            body: JSON text.
            api: The API that it came by.
            lease: Takes the memory that is needed.

        Returns:
            The request without its messages, and the messages, which hold attachments as files.

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
        messages = await self._media.receive(parsed.turns, lease, parsed.tools)
        return replace(parsed, turns=()), messages

    def _check_roles(self, parsed: ParsedRequest) -> None:
        models = self._served.runs_of(parsed.model).pair.reasoner.models
        missing = set(parsed.options.roles) - models.keys()
        if missing:
            raise bad_request(
                f"method {parsed.options.method} needs the {' and the '.join(sorted(missing))}, "
                "which this gateway has not loaded",
                "dreamr.method",
            )
