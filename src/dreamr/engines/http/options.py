"""Options of the connection to a served model."""

from __future__ import annotations

from dataclasses import dataclass, field

from dreamr._api_keys import clean_key
from dreamr.engines.address import parse_address
from dreamr.engines.protocol import MAX_IMAGE_PIXELS, Thinking
from dreamr.gate import Labels


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Options of one model at a server with OpenAI's chat completions API.

    Attributes:
        url: Base URL as OpenAI clients take it, ending in /v1, which is added if there is no path.
            `dreamr.engines.address` lists the forms that are accepted.
        model: Name of the model at the server. None: the server's only model.
        api_key: Sent as a bearer token. Never shown. White space around it is removed.
        judge_prompt: Question about a drafted step. None: the one that the model's family was
            trained on, or the default.
        labels: Words of the verdict.
        thinking: Whether the model thinks before its answer: 'on', 'off', or 'auto', which leaves
            it to the model's chat template, except that hybrid Qwen models do not think about
            images.
        retries: How often a request is repeated that the server refused or whose connection broke.
        connect_seconds: Time limit for connecting.
        silent_seconds: Time limit between two pieces of a response.
        ahead: Largest number of tokens of one request. Longer streams are continued by further
            requests, which limits how far a server can run ahead of a slow consumer.
        max_pixels: Number of pixels to which larger images are shrunk; 0 keeps all.

    Raises:
        ModelNotFound: If the URL is not usable.
        BadOption: If the API key contains characters that a key cannot have.
    """

    url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    judge_prompt: str | None = None
    labels: Labels = field(default_factory=Labels)
    thinking: Thinking = "auto"
    retries: int = 3
    connect_seconds: float = 10.0
    silent_seconds: float = 120.0
    ahead: int = 512
    max_pixels: int = MAX_IMAGE_PIXELS

    def __post_init__(self) -> None:
        parse_address(self.url)
        if self.api_key is not None:
            object.__setattr__(self, "api_key", clean_key(self.api_key, "HttpOptions.api_key"))

    @property
    def base(self) -> str:
        """Base URL of the OpenAI API, to which paths are appended."""
        return parse_address(self.url).base

    @property
    def image_pixels(self) -> int | None:
        """Number of pixels to which larger images are shrunk; None keeps all."""
        return self.max_pixels or None

    @property
    def root(self) -> str:
        """Base URL of the server's other paths, such as /health."""
        return parse_address(self.url).root
