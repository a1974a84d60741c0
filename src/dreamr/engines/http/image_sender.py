"""Bodies of requests to one server, with their images."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from dreamr.engines.http.image_files import FILES, ImageFile, ImageFiles, ImageLimits
from dreamr.engines.http.image_memory import Claim, ImageMemory
from dreamr.engines.http.image_parts import ImageReference, ImageRoute, Template
from dreamr.errors import ContextTooLong

_THREADS = 2  # images that are encoded at the same time for one server
_LARGE_BODY = 2**20  # bytes that take a while to copy
# Rough sizes, to tell whether images or text make a prompt long.
_PIXELS_PER_TOKEN, _BYTES_PER_TOKEN = 28 * 28, 4

Check = Callable[[], Awaitable[ImageRoute]]


@dataclass(slots=True)
class Outgoing:
    """One request that is being sent.

    Attributes:
        content: The body.
        images: Files of its images.
        text_bytes: Bytes of the body without images.
        claim: Which images it carries.
    """

    content: bytes
    images: Sequence[ImageFile] = ()
    text_bytes: int = 0
    claim: Claim | None = None

    @property
    def omitted(self) -> frozenset[str]:
        """Digests of the images that the server should have."""
        return frozenset() if self.claim is None else self.claim.omitted

    def explained(self, error: ContextTooLong, most: int | None) -> ContextTooLong:
        """Return the error of a prompt that is too long, with the images if these are the reason.

        Args:
            error: The error.
            most: Number of pixels to which images are shrunk.
        """
        pixels = sum(file.width * file.height for file in self.images)
        if pixels / _PIXELS_PER_TOKEN < self.text_bytes / _BYTES_PER_TOKEN or not pixels:
            return error
        what = "the image is most of it"
        if len(self.images) > 1:
            what = f"its {len(self.images)} images are most of it"
        limit = "no limit" if most is None else f"{most:,}"
        return ContextTooLong(
            f"{error}; {what} ({pixels:,} pixels): lower --max-pixels or --draft-max-pixels (now "
            f"{limit})"
        )


class ImageSender:
    """Puts the images into the bodies of requests to one server.

    Args:
        limits: What the server takes of an image.
        check: Finds out how the server takes images, when the first one is sent. None: as data.
        files: Files of images, which all engines share.
    """

    def __init__(
        self,
        limits: ImageLimits | None = None,
        check: Check | None = None,
        files: ImageFiles = FILES,
    ) -> None:
        self.limits = limits or ImageLimits()
        self._check, self._files = check, files
        self._route: ImageRoute | None = "data" if check is None else None
        self._checking = anyio.Lock()
        self._memory = ImageMemory()
        self._threads = anyio.CapacityLimiter(_THREADS)

    @property
    def route(self) -> ImageRoute | None:
        """How the server takes images; None before the first one."""
        return self._route

    @asynccontextmanager
    async def outgoing(
        self, body: Any, missed: Collection[str] = ()
    ) -> AsyncGenerator[Outgoing, None]:
        """Yield the request with a body; leave the block when the server has answered.

        Args:
            body: Fields of the request, with `ImageReference`s.
            missed: Digests of images that an earlier attempt omitted in vain.
        """
        template = Template.of(body)
        if not template.images:
            yield Outgoing(template.pieces[0])
            return
        route = await self._found_route()
        files = [await self._file(reference) for reference in template.images]
        claim = await self._claim(route, template.images, files, missed)
        try:
            content = await self._content(template, route, files, claim)
            yield Outgoing(content, files, template.text_bytes, claim)
        finally:
            if claim is not None:
                self._memory.end(claim)

    def arrived(self, request: Outgoing) -> None:
        """Note that the server has accepted a request."""
        if request.claim is not None:
            self._memory.arrived(request.claim)

    def doubt(self, request: Outgoing) -> None:
        """Note that the server may not have the images of a request."""
        if request.claim is not None:
            self._memory.doubt(request.claim.carried | request.omitted)

    async def _found_route(self) -> ImageRoute:
        async with self._checking:
            if self._route is None:
                assert self._check is not None
                self._route = await self._check()
            return self._route

    async def _file(self, reference: ImageReference) -> ImageFile:
        found = self._files.get(reference.image, self.limits)
        if found is not None:
            return found
        make = partial(self._files.of, reference.image, self.limits)
        return await anyio.to_thread.run_sync(make, limiter=self._threads)

    async def _claim(
        self,
        route: ImageRoute,
        references: Sequence[ImageReference],
        files: Sequence[ImageFile],
        missed: Collection[str],
    ) -> Claim | None:
        if route != "uuid":
            return None
        pairs = zip(references, files, strict=True)
        digests = {file.digest for reference, file in pairs if reference.form == "part"}
        return await self._memory.claim(digests, missed)

    async def _content(
        self,
        template: Template,
        route: ImageRoute,
        files: Sequence[ImageFile],
        claim: Claim | None,
    ) -> bytes:
        omitted = frozenset() if claim is None else claim.omitted
        size = sum(len(file.base64) for file in files if file.digest not in omitted)

        def join() -> bytes:
            parts = [
                reference.to_json(file, route, omitted=file.digest in omitted)
                for reference, file in zip(template.images, files, strict=True)
            ]
            return b"".join(template.filled(parts))

        if size < _LARGE_BODY:
            return join()
        return await anyio.to_thread.run_sync(join, limiter=self._threads)
