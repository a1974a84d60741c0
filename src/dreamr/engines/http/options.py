"""Options of the connection to a served model."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dreamr.errors import ModelNotFound
from dreamr.gate import Labels


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Options of one model at a server with OpenAI's chat completions API.

    Attributes:
        url: Base URL as OpenAI clients take it, ending in /v1, which is added if there is no path.
        model: Name of the model at the server. None: the server's only model.
        api_key: Sent as a bearer token. Never shown.
        judge_prompt: Question about a drafted step.
        labels: Words of the verdict.
        retries: How often a request is repeated that the server refused or whose connection broke.
        connect_seconds: Time limit for connecting.
        silent_seconds: Time limit between two pieces of a response.
        ahead: Largest number of tokens of one request. Longer streams are continued by further
            requests, which limits how far a server can run ahead of a slow consumer.
        connections: Largest number of connections to the server.

    Raises:
        ModelNotFound: If the URL is not usable.
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
        except ValueError:  # a port that is not a number, an unclosed bracket
            known = False
        if not known:
            raise ModelNotFound(f"{self.url!r} is not a server URL: write http://host:port/v1")
        if parts.username or parts.password:
            raise ModelNotFound(
                "a server URL must not contain a key: set the environment variable DREAMR_API_KEY"
            )

    @property
    def base(self) -> str:
        """Base URL of the OpenAI API, to which paths are appended."""
        url = self.url.rstrip("/")
        return url if urlsplit(url).path else f"{url}/v1"

    @property
    def root(self) -> str:
        """Base URL of the server's other paths, such as /health."""
        return self.base.removesuffix("/v1")
