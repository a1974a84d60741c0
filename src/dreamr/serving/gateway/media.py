"""Images of requests: taken from data URIs or fetched, checked, and decoded after admission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import anyio
import anyio.to_thread
import httpx2

from dreamr._option_specs import listed
from dreamr.conversation import (
    AttachmentError,
    Conversation,
    Image,
    ImageHeader,
    Text,
    Turn,
    fitting_size,
    read_header,
    read_image,
    read_image_isolated,
)
from dreamr.serving.gateway.data_uri import BadDataUri, is_data_uri, read_data_uri
from dreamr.serving.gateway.errors import bad_request, shortened
from dreamr.serving.gateway.image_hosts import ImageHosts, Resolve, is_public, resolve_host
from dreamr.serving.gateway.memory import Budget, Lease
from dreamr.serving.gateway.request import ImageUrl, ParsedMessage
from dreamr.serving.options import ServeOptions

Found = TypeVar("Found")

_FETCH_SECONDS = 15.0
_MAX_REQUESTS = 3  # the first one and two redirects
# Smaller images of these formats are decoded in milliseconds, which is faster than in a process.
_SMALL_PIXELS = 2**20
_QUICK_FORMATS = ("PNG", "JPEG")


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """An image file whose header is checked.

    Attributes:
        data: The bytes of the file.
        header: Format and size.
        param: Path of the field in the request, for errors.
    """

    data: bytes
    header: ImageHeader
    param: str


ReceivedPart: TypeAlias = str | ReceivedImage


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message whose images are received but not decoded."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[ReceivedPart, ...]


class MediaFetcher:
    """Reader of the images of requests.

    Only hosts in `allowed_media_domains` are contacted. A host that resolves to an internal address
    (loopback, private, link-local) is refused; redirects are checked the same way. The connection
    goes to an address that was checked, so a second DNS answer cannot change it.

    Args:
        limits: Allowed hosts and largest sizes.
        fit: Returns the number of pixels to which larger images are shrunk; None if they keep
            their size, as by default.
        resolve: Resolves host names; replaced in tests.
        transport: HTTP transport; replaced in tests.
    """

    def __init__(
        self,
        limits: ServeOptions,
        *,
        fit: Callable[[], int | None] = lambda: None,
        resolve: Resolve = resolve_host,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits, self._fit = limits, fit
        self._hosts = ImageHosts.parse(listed(limits.allowed_media_domains))
        self._resolve, self._transport = resolve, transport
        self._decoding = Budget(limits.max_upload_pixels)
        # One thread at a time, which leaves the interpreter's lock to the event loop.
        self._thread = anyio.CapacityLimiter(1)

    async def receive(
        self, messages: Sequence[ParsedMessage], lease: Lease
    ) -> tuple[ReceivedMessage, ...]:
        """Take all images from data URIs or from their hosts, and check their headers.

        Args:
            messages: Messages of a request.
            lease: Takes the bytes of images that are fetched.

        Raises:
            ApiError: If an image cannot be fetched or has a bad header.
            ConversationError: If the messages are not a prompt that can be answered.
        """
        texts = [
            Turn(message.role, tuple(Text(p) for p in message.parts if isinstance(p, str)))
            for message in messages
        ]
        Conversation(tuple(texts)).check()
        return tuple(
            [
                ReceivedMessage(
                    message.role,
                    tuple([await self._received(part, lease) for part in message.parts]),
                )
                for message in messages
            ]
        )

    def pixels(self, messages: Sequence[ReceivedMessage]) -> int:
        """Return the pixels of all images after shrinking."""
        images = [p for message in messages for p in message.parts if isinstance(p, ReceivedImage)]
        fit = self._fit() or self._limits.max_upload_pixels
        sizes = [fitting_size(i.header.width, i.header.height, fit) for i in images]
        return sum(width * height for width, height in sizes)

    async def decode(self, messages: Sequence[ReceivedMessage]) -> Conversation:
        """Convert messages to a conversation, with all images decoded and shrunk.

        Raises:
            ApiError: If an image cannot be decoded.
        """
        turns = [
            Turn(
                message.role,
                tuple(
                    [
                        Text(part) if isinstance(part, str) else await self._decoded(part)
                        for part in message.parts
                    ]
                ),
            )
            for message in messages
        ]
        return Conversation(tuple(turns))

    async def _received(self, part: str | ImageUrl, lease: Lease) -> ReceivedPart:
        if isinstance(part, str):
            return part
        url = part.url
        if not is_data_uri(url) and not url[:8].lower().startswith(("http://", "https://")):
            raise bad_request("an image URL must start with data:, http:// or https://", part.param)
        try:
            if is_data_uri(url):
                data = await self._in_thread(read_data_uri, url)
            else:
                data = await self._fetch(part, lease)
            most = self._limits.max_upload_pixels
            header = await self._in_thread(lambda: read_header(data, max_pixels=most))
        except (AttachmentError, BadDataUri) as error:
            raise bad_request(str(error), part.param, "invalid_image") from error
        return ReceivedImage(data, header, part.param)

    async def _decoded(self, image: ReceivedImage) -> Image:
        header, most, fit = image.header, self._limits.max_upload_pixels, self._fit()
        pixels = header.width * header.height
        try:
            if pixels <= _SMALL_PIXELS and header.format in _QUICK_FORMATS:
                return await self._in_thread(
                    lambda: read_image(image.data, max_pixels=most, fit=fit)
                )
            await self._decoding.wait(pixels)
            try:
                return await read_image_isolated(image.data, max_pixels=most, fit=fit)
            finally:
                self._decoding.give(pixels)
        except AttachmentError as error:
            raise bad_request(str(error), image.param, "invalid_image") from error

    async def _in_thread(self, work: Callable[..., Found], *arguments: object) -> Found:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._thread)

    async def _fetch(self, image: ImageUrl, lease: Lease) -> bytes:
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                return await self._follow(image, lease)
        except TimeoutError:
            raise bad_request(
                f"the image could not be fetched within {_FETCH_SECONDS:g} s", image.param
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise bad_request(
                "the image could not be fetched; check its URL", image.param
            ) from error

    async def _follow(self, image: ImageUrl, lease: Lease) -> bytes:
        url = httpx2.URL(image.url)
        async with httpx2.AsyncClient(
            transport=self._transport, timeout=_FETCH_SECONDS, trust_env=False
        ) as client:
            for _ in range(_MAX_REQUESTS):
                response = await self._get(client, url, await self._allowed(url, image))
                try:
                    if response.has_redirect_location:
                        url = url.join(response.headers["location"])
                        continue
                    return await self._body(response, image, lease)
                finally:
                    await response.aclose()
        raise bad_request("too many redirects while fetching the image", image.param)

    async def _get(
        self, client: httpx2.AsyncClient, url: httpx2.URL, addresses: Sequence[str]
    ) -> httpx2.Response:
        """Send a request to the first address that accepts a connection."""
        host = url.netloc.decode("ascii").rpartition("@")[2]
        for left, address in reversed(list(enumerate(reversed(addresses)))):
            request = client.build_request(
                "GET",
                url.copy_with(host=address),
                headers={"Host": host, "Accept": "image/*", "Accept-Encoding": "identity"},
                extensions={"sni_hostname": url.host},
            )
            # The time is shared, so that one silent address does not use up all of it.
            request.extensions["timeout"]["connect"] = _FETCH_SECONDS / 2 / (left + 1)
            try:
                return await client.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if not left:
                    raise
        raise AssertionError("addresses are checked to be some")

    async def _allowed(self, url: httpx2.URL, image: ImageUrl) -> Sequence[str]:
        """Return the addresses of the URL's host after checking that all are allowed."""
        usual = 443 if url.scheme == "https" else 80
        port = usual if url.port is None else url.port
        if url.scheme not in ("http", "https") or not self._hosts.allow(url.host, port):
            shown = _shown_host(url)
            raise bad_request(
                f"images from {shown} are not allowed: send the image as a data URI, or add the "
                "host to --allowed-media-domains of the gateway",
                image.param,
                "image_host_not_allowed",
            )
        addresses = await self._resolve(url.host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise bad_request(
                f"{url.host} resolves to an internal address", image.param, "image_host_not_allowed"
            )
        return addresses

    async def _body(self, response: httpx2.Response, image: ImageUrl, lease: Lease) -> bytes:
        if response.status_code != 200:
            raise bad_request(
                f"the image could not be fetched: its host returned status {response.status_code}",
                image.param,
            )
        data, limit = bytearray(), self._limits.max_body
        async for piece in response.aiter_raw():  # compressed, it might grow a thousandfold
            data += piece
            if len(data) > limit:
                raise bad_request(f"the image has more than {limit:,} bytes", image.param)
            lease.take_body(len(piece))
        return bytes(data)


def _shown_host(url: httpx2.URL) -> str:
    host = url.netloc.decode("ascii", "replace").rpartition("@")[2]
    return shortened(host)[1:-1] if host else "this URL"
