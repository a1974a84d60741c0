"""Bodies of requests to one server, with their images and sounds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from dreamr.engines.http.media_files import FILES, ImageLimits, MediaFile, MediaFiles
from dreamr.engines.http.media_memory import Claim, MediaMemory
from dreamr.engines.http.media_parts import MediaKind, MediaReference, MediaRoute, Template
from dreamr.errors import ContextTooLong

_THREADS = 2  # files that are encoded at the same time for one server
_LARGE_BODY = 2**20  # bytes that take a while to copy
# Rough sizes, to tell whether images or text make a prompt long.
_PIXELS_PER_TOKEN, _BYTES_PER_TOKEN = 28 * 28, 4

Check = Callable[[MediaKind], Awaitable[MediaRoute]]


@dataclass(slots=True)
class Outgoing:
    """One request that is being sent.

    Attributes:
        content: The body.
        files: Its images and sounds.
        text_bytes: Bytes of the body without them.
        claim: Which files it carries.
    """

    content: bytes
    files: Sequence[MediaFile] = ()
    text_bytes: int = 0
    claim: Claim | None = None

    @property
    def omitted(self) -> frozenset[str]:
        """Digests of the files that the server should have."""
        return frozenset() if self.claim is None else self.claim.omitted

    def explained(self, error: ContextTooLong, most: int | None) -> ContextTooLong:
        """Return the error of a prompt that is too long, with the images if these are the reason.

        Args:
            error: The error.
            most: Number of pixels to which images are shrunk.
        """
        images = [file for file in self.files if file.width]
        pixels = sum(file.width * file.height for file in images)
        if pixels / _PIXELS_PER_TOKEN < self.text_bytes / _BYTES_PER_TOKEN or not pixels:
            return error
        what = "the image is most of it"
        if len(images) > 1:
            what = f"its {len(images)} images are most of it"
        limit = "no limit" if most is None else f"{most:,}"
        return ContextTooLong(
            f"{error}; {what} ({pixels:,} pixels): lower --max-pixels or --draft-max-pixels (now "
            f"{limit})"
        )


class MediaSender:
    """Puts the images and sounds into the bodies of requests to one server.

    Args:
        limits: What the server takes of an image.
        check: Finds out how the server takes media of a kind, when the first is sent. None: as
            data.
        files: Files of images and sounds, which all engines share.
    """

    def __init__(
        self,
        limits: ImageLimits | None = None,
        check: Check | None = None,
        files: MediaFiles = FILES,
    ) -> None:
        self.limits = limits or ImageLimits()
        self._check, self._files = check, files
        self._routes: dict[MediaKind, MediaRoute] = {}
        self._checking = anyio.Lock()
        self._memory = MediaMemory()
        self._threads = anyio.CapacityLimiter(_THREADS)

    def route(self, kind: MediaKind) -> MediaRoute | None:
        """Return how the server takes media of a kind; None before the first one."""
        return "data" if self._check is None else self._routes.get(kind)

    @asynccontextmanager
    async def outgoing(
        self, body: Any, missed: Collection[str] = ()
    ) -> AsyncGenerator[Outgoing, None]:
        """Yield the request with a body; leave the block when the server has answered.

        Args:
            body: Fields of the request, with `MediaReference`s.
            missed: Digests of files that an earlier attempt omitted in vain.
        """
        template = Template.of(body)
        if not template.media:
            yield Outgoing(template.pieces[0])
            return
        routes = [await self._found_route(reference) for reference in template.media]
        files = [await self._file(reference) for reference in template.media]
        claim = await self._claim(routes, files, missed)
        try:
            content = await self._content(template, routes, files, claim)
            yield Outgoing(content, files, template.text_bytes, claim)
        finally:
            if claim is not None:
                self._memory.end(claim)

    def arrived(self, request: Outgoing) -> None:
        """Note that the server has accepted a request."""
        if request.claim is not None:
            self._memory.arrived(request.claim)

    def doubt(self, request: Outgoing) -> None:
        """Note that the server may not have the files of a request."""
        if request.claim is not None:
            self._memory.doubt(request.claim.carried | request.omitted)

    async def _found_route(self, reference: MediaReference) -> MediaRoute:
        if self._check is None or not reference.can_be_omitted:
            return "data"
        async with self._checking:
            if reference.kind not in self._routes:
                self._routes[reference.kind] = await self._check(reference.kind)
            return self._routes[reference.kind]

    async def _file(self, reference: MediaReference) -> MediaFile:
        found = self._files.get(reference.media, self.limits)
        if found is not None:
            return found
        make = partial(self._files.of, reference.media, self.limits)
        return await anyio.to_thread.run_sync(make, limiter=self._threads)

    async def _claim(
        self, routes: Sequence[MediaRoute], files: Sequence[MediaFile], missed: Collection[str]
    ) -> Claim | None:
        named = {file.digest for route, file in zip(routes, files, strict=True) if route == "uuid"}
        return await self._memory.claim(named, missed) if named else None

    async def _content(
        self,
        template: Template,
        routes: Sequence[MediaRoute],
        files: Sequence[MediaFile],
        claim: Claim | None,
    ) -> bytes:
        omitted = frozenset() if claim is None else claim.omitted
        size = sum(len(file.base64) for file in files if file.digest not in omitted)

        def join() -> bytes:
            parts = [
                reference.to_json(file, route, omitted=route == "uuid" and file.digest in omitted)
                for reference, file, route in zip(template.media, files, routes, strict=True)
            ]
            return b"".join(template.filled(parts))

        if size < _LARGE_BODY:
            return join()
        return await anyio.to_thread.run_sync(join, limiter=self._threads)
