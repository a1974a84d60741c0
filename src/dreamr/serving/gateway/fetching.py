"""Files that requests name by URL, fetched from allowed hosts only."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import httpx2

from dreamr._option_specs import listed
from dreamr.serving.gateway.content_parts import MediaKind, SentMedia
from dreamr.serving.gateway.errors import bad_request, shortened
from dreamr.serving.gateway.image_hosts import ImageHosts, Resolve, is_public
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.options import ServeOptions

_FETCH_SECONDS = 15.0
_MAX_REQUESTS = 3  # the first one and two redirects
_ACCEPT: dict[MediaKind, str] = {
    "image": "image/*",
    "video": "video/*",
    "sound": "audio/*",
    "file": "application/pdf, image/*, video/*, audio/*",
}


class Fetcher:
    """Fetches images, videos, sounds and PDF files.

    Only hosts in `allowed_media_domains` are contacted. A host that resolves to an internal address
    (loopback, private, link-local) is refused; redirects are checked the same way. The connection
    goes to an address that was checked, so a second DNS answer cannot change it.

    Args:
        limits: Allowed hosts and largest sizes.
        resolve: Resolves host names.
        transport: HTTP transport; None for that of the HTTP client.
    """

    def __init__(
        self, limits: ServeOptions, resolve: Resolve, transport: httpx2.AsyncBaseTransport | None
    ) -> None:
        self._limits, self._resolve, self._transport = limits, resolve, transport
        self._hosts = ImageHosts.parse(listed(limits.allowed_media_domains))

    async def fetch(self, media: SentMedia, lease: Lease) -> bytes:
        """Return the content at the URL of a part; its bytes are taken from the lease.

        Raises:
            ApiError: If it cannot be fetched, its host is not allowed, or it is too large.
        """
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                return await self._follow(media, lease)
        except TimeoutError:
            raise bad_request(
                f"the {media.kind} could not be fetched within {_FETCH_SECONDS:g} s", media.param
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise bad_request(
                f"the {media.kind} could not be fetched; check its URL", media.param
            ) from error

    async def _follow(self, media: SentMedia, lease: Lease) -> bytes:
        url = httpx2.URL(media.url or "")
        async with httpx2.AsyncClient(
            transport=self._transport, timeout=_FETCH_SECONDS, trust_env=False
        ) as client:
            for _ in range(_MAX_REQUESTS):
                response = await self._get(client, url, media)
                try:
                    if response.has_redirect_location:
                        url = url.join(response.headers["location"])
                        continue
                    return await self._body(response, media, lease)
                finally:
                    await response.aclose()
        raise bad_request(f"too many redirects while fetching the {media.kind}", media.param)

    async def _get(
        self, client: httpx2.AsyncClient, url: httpx2.URL, media: SentMedia
    ) -> httpx2.Response:
        """Send a request to the first allowed address that accepts a connection."""
        addresses = await self._allowed(url, media)
        host = url.netloc.decode("ascii").rpartition("@")[2]
        for left, address in reversed(list(enumerate(reversed(addresses)))):
            request = client.build_request(
                "GET",
                url.copy_with(host=address),
                headers={
                    "Host": host,
                    "Accept": _ACCEPT[media.kind],
                    "Accept-Encoding": "identity",
                },
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

    async def _allowed(self, url: httpx2.URL, media: SentMedia) -> Sequence[str]:
        """Return the addresses of the URL's host after checking that all are allowed."""
        usual = 443 if url.scheme == "https" else 80
        port = usual if url.port is None else url.port
        if url.scheme not in ("http", "https") or not self._hosts.allow(url.host, port):
            shown = _shown_host(url)
            raise bad_request(
                f"{media.kind}s from {shown} are not allowed: send the {media.kind} as a data URI, "
                "or add the host to --allowed-media-domains of the gateway",
                media.param,
                f"{media.kind}_host_not_allowed",
            )
        addresses = await self._resolve(url.host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise bad_request(
                f"{url.host} resolves to an internal address: send the {media.kind} as a data URI",
                media.param,
                f"{media.kind}_host_not_allowed",
            )
        return addresses

    async def _body(self, response: httpx2.Response, media: SentMedia, lease: Lease) -> bytes:
        if response.status_code != 200:
            raise bad_request(
                f"the {media.kind} could not be fetched: its host returned status "
                f"{response.status_code}",
                media.param,
            )
        data, limit = bytearray(), self._limits.max_body
        async for piece in response.aiter_raw():  # compressed, it might grow a thousandfold
            data += piece
            if len(data) > limit:
                raise bad_request(
                    f"the {media.kind} has more than {limit:,} bytes: send a smaller one, or raise "
                    "--max-body of the gateway",
                    media.param,
                )
            lease.take_body(len(piece))
        return bytes(data)


def _shown_host(url: httpx2.URL) -> str:
    host = url.netloc.decode("ascii", "replace").rpartition("@")[2]
    return shortened(host)[1:-1] if host else "this URL"
