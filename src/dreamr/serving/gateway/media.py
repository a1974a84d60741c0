"""Images of requests: decoded from data URIs or fetched from allowed hosts."""

from __future__ import annotations

import binascii
import ipaddress
import re
import socket
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import unquote_to_bytes

import anyio
import httpx2

from dreamr._option_specs import listed
from dreamr.conversation import Conversation, Image, ImageError, Part, Text, Turn, read_image
from dreamr.serving.gateway.errors import bad_request
from dreamr.serving.gateway.request import ImageUrl, ParsedMessage
from dreamr.serving.options import ServeOptions

_DATA = re.compile(r"data:([^,;]*)(;[^,]*)?,", re.IGNORECASE)
_FETCH_SECONDS = 15.0
_MAX_REQUESTS = 3  # the first one and two redirects

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Resolve a host name to IP addresses."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class MediaFetcher:
    """Reader of the images of requests.

    Only hosts in `allowed_media_domains` are contacted. A host that resolves to an internal address
    (loopback, private, link-local) is refused; redirects are checked the same way. The connection
    goes to the address that was checked, so a second DNS answer cannot change it.

    Args:
        limits: Allowed hosts and largest sizes.
        resolve: Resolves host names; replaced in tests.
        transport: HTTP transport; replaced in tests.
    """

    def __init__(
        self,
        limits: ServeOptions,
        resolve: Resolve = resolve_host,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits
        self._hosts = frozenset(host.lower() for host in listed(limits.allowed_media_domains))
        self._resolve = resolve
        self._transport = transport

    async def conversation(self, turns: Sequence[ParsedMessage]) -> Conversation:
        """Convert messages to a conversation, with all images read.

        Raises:
            ApiError: If an image cannot be fetched or decoded.
            ConversationError: If the messages are not a prompt that can be answered.
        """
        read = [
            Turn(turn.role, tuple([await self._part(part) for part in turn.parts]))
            for turn in turns
        ]
        conversation = Conversation(tuple(read))
        conversation.check()
        return conversation

    async def _part(self, part: str | ImageUrl) -> Part:
        if isinstance(part, str):
            return Text(part)
        try:
            return await self._read(part)
        except ImageError as error:
            raise bad_request(str(error), part.param, "invalid_image") from error

    async def _read(self, image: ImageUrl) -> Image:
        if image.url[:5].lower() == "data:":
            return await anyio.to_thread.run_sync(self._decode, image)
        if image.url[:8].lower().startswith(("http://", "https://")):
            data = await self._fetch(image)
            return await anyio.to_thread.run_sync(self._image, data)
        raise bad_request("an image URL must start with data:, http:// or https://", image.param)

    def _decode(self, image: ImageUrl) -> Image:
        head = _DATA.match(image.url[:256])
        if head is None:
            raise bad_request("the data URI contains no data", image.param, "invalid_image")
        body = image.url[head.end() :]
        try:
            if "base64" in (head[2] or "").lower():
                data = b64decode("".join(body.split()), validate=True)
            else:
                data = unquote_to_bytes(body)
        except (binascii.Error, ValueError) as error:
            raise bad_request(
                "the data URI is not valid base64", image.param, "invalid_image"
            ) from error
        return self._image(data)

    def _image(self, data: bytes) -> Image:
        return read_image(data, max_pixels=self._limits.max_pixels)

    async def _fetch(self, image: ImageUrl) -> bytes:
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                return await self._follow(image)
        except TimeoutError:
            raise bad_request(
                f"the image could not be fetched within {_FETCH_SECONDS:g} s", image.param
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise bad_request(
                "the image could not be fetched; check its URL", image.param
            ) from error

    async def _follow(self, image: ImageUrl) -> bytes:
        url = httpx2.URL(image.url)
        async with httpx2.AsyncClient(
            transport=self._transport, timeout=_FETCH_SECONDS, trust_env=False
        ) as client:
            for _ in range(_MAX_REQUESTS):
                address = await self._allowed(url, image)
                pinned = url.copy_with(host=address)
                host = url.netloc.decode("ascii").rpartition("@")[2]
                request = client.build_request(
                    "GET",
                    pinned,
                    headers={"Host": host, "Accept": "image/*"},
                    extensions={"sni_hostname": url.host},
                )
                response = await client.send(request, stream=True)
                try:
                    if response.has_redirect_location:
                        url = url.join(response.headers["location"])
                        continue
                    return await self._body(response, image)
                finally:
                    await response.aclose()
        raise bad_request("too many redirects while fetching the image", image.param)

    async def _allowed(self, url: httpx2.URL, image: ImageUrl) -> str:
        """Return an address of the URL's host after checking that it is allowed."""
        if url.scheme not in ("http", "https") or url.host.lower() not in self._hosts:
            raise bad_request(
                f"images from {url.host or 'this URL'} are not allowed: send the image as a data "
                "URI, or add the host to --allowed-media-domains of the gateway",
                image.param,
                "image_host_not_allowed",
            )
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._resolve(url.host, port)
        if not addresses or not all(map(_is_public, addresses)):
            raise bad_request(
                f"{url.host} resolves to an internal address", image.param, "image_host_not_allowed"
            )
        return addresses[0]

    async def _body(self, response: httpx2.Response, image: ImageUrl) -> bytes:
        if response.status_code != 200:
            raise bad_request(
                f"the image could not be fetched: its host returned status {response.status_code}",
                image.param,
            )
        data, limit = bytearray(), self._limits.max_body
        async for piece in response.aiter_bytes():
            data += piece
            if len(data) > limit:
                raise bad_request(f"the image has more than {limit:,} bytes", image.param)
        return bytes(data)


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast
