"""How a served model is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dreamr.errors import ModelNotFound
from dreamr.gate import Labels


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """One model behind one address that speaks OpenAI's chat completions.

    url: as clients of OpenAI take it, with /v1 at its end (added where there is no path). model:
    its name there; None where the server has one model only. api_key: sent as a bearer token and
    never shown. judge_prompt: what is asked about a step. labels: the words of the verdict.
    retries: how often a request is sent again that the server did not take or that broke off.
    connect_seconds: bound on reaching the server. silent_seconds: bound on its saying nothing.
    ahead: the most tokens one request asks for; a stream of more goes on with another request, so
    that a server cannot run further ahead of whoever reads slowly. connections: to the server.

    Raises:
        ModelNotFound: the address is none.
    """

    url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    judge_prompt: str | None = None
    labels: Labels = field(default_factory=Labels)
    retries: int = 3
    connect_seconds: float = 10.0
    silent_seconds: float = 120.0
    ahead: int = 512
    connections: int = 128

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number, a bracket left open
            known = False
        if not known:
            raise ModelNotFound(
                f"{self.url!r} is no address of a server: write http://host:port/v1"
            )
        if parts.username or parts.password:
            raise ModelNotFound(
                "leave the key out of the address: put it into the environment as DREAMR_API_KEY"
            )

    @property
    def base(self) -> str:
        """The address that paths of the OpenAI API are put behind."""
        url = self.url.rstrip("/")
        return url if urlsplit(url).path else f"{url}/v1"

    @property
    def root(self) -> str:
        """The address of the server's own paths, such as /health."""
        return self.base.removesuffix("/v1")
