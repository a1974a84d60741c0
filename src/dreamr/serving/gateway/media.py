"""Pictures of requests: out of data URIs, or from hosts that were allowed by name."""

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
_HOPS = 3

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The addresses of a host."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class MediaFetcher:
    """Reads the pictures of requests.

    Nothing is fetched unless its host was allowed by name. An allowed name that leads to an address
    inside (loopback, private, link-local) is refused, and so is each hop of a redirect; the address
    that was looked at is the one that is spoken to.

    Args:
        limits: which hosts, how large.
        resolve, transport: in the place of the network, for tests.
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
        """The turns with their pictures read.

        Raises:
            ApiError: a picture cannot be had or read.
            ConversationError: no question comes of it.
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
        raise bad_request("a picture must be a data URI, as data:image/png;base64,...", image.param)

    def _decode(self, image: ImageUrl) -> Image:
        head = _DATA.match(image.url[:256])
        if head is None:
            raise bad_request("this data URI has no data", image.param, "invalid_image")
        body = image.url[head.end() :]
        try:
            if "base64" in (head[2] or "").lower():
                data = b64decode("".join(body.split()), validate=True)
            else:
                data = unquote_to_bytes(body)
        except (binascii.Error, ValueError) as error:
            raise bad_request(
                "this data URI is no sound base64", image.param, "invalid_image"
            ) from error
        return self._image(data)

    def _image(self, data: bytes) -> Image:
        return read_image(data, max_pixels=self._limits.max_pixels)

    async def _fetch(self, image: ImageUrl) -> bytes:
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                return await self._follow(image)
        except TimeoutError:
            raise bad_request("the picture did not come in time", image.param) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise bad_request("the picture cannot be fetched", image.param) from error

    async def _follow(self, image: ImageUrl) -> bytes:
        url = httpx2.URL(image.url)
        async with httpx2.AsyncClient(
            transport=self._transport, timeout=_FETCH_SECONDS, trust_env=False
        ) as client:
            for _ in range(_HOPS):
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
        raise bad_request("the picture's address leads on and on", image.param)

    async def _allowed(self, url: httpx2.URL, image: ImageUrl) -> str:
        """An address of the host that may be spoken to."""
        if url.scheme not in ("http", "https") or url.host.lower() not in self._hosts:
            raise bad_request(
                f"pictures are not fetched from {url.host or 'there'}: send it as a data URI, or "
                "allow the host when the gateway starts (--allowed-media-domains)",
                image.param,
                "image_host_not_allowed",
            )
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._resolve(url.host, port)
        if not addresses or not all(map(_is_public, addresses)):
            raise bad_request(
                f"{url.host} leads to an internal address", image.param, "image_host_not_allowed"
            )
        return addresses[0]

    async def _body(self, response: httpx2.Response, image: ImageUrl) -> bytes:
        if response.status_code != 200:
            raise bad_request(f"the picture's host says {response.status_code}", image.param)
        data = bytearray()
        async for piece in response.aiter_bytes():
            data += piece
            if len(data) > self._limits.max_body:
                raise bad_request("the picture is too large", image.param)
        return bytes(data)


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast
