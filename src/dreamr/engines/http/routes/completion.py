"""Route by llama.cpp's own completion endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from dreamr.engines.http.completions import Completion
from dreamr.engines.http.media_parts import MediaReference
from dreamr.engines.http.native import read_llama
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.routes.chat import ChatRoute
from dreamr.engines.http.routes.prompt import PromptRoute, Render
from dreamr.engines.http.routes.route import Body
from dreamr.errors import Unsupported

_NAMES = {"max_tokens": "n_predict", "repetition_penalty": "repeat_penalty"}


class CompletionRoute(PromptRoute):
    """Requests to /completion, with the images as `multimodal_data`.

    Args:
        chat: Route by chat completions, whose requests are rendered.
        render: Returns the prompt that the server makes of such a request.
        marker: Text that stands for an image in a prompt; llama.cpp draws it when it starts.
    """

    name: ClassVar[str] = "completion"

    def __init__(self, chat: ChatRoute, render: Render, marker: str) -> None:
        super().__init__(chat, render)
        self._marker = marker

    def url(self, options: HttpOptions) -> str:
        """Return the address of the endpoint."""
        return f"{options.root}/completion"

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"n_probs": count}

    def form(self, body: Body) -> Body:
        """Return a body with the names of fields that the endpoint has."""
        return {_NAMES.get(name, name): value for name, value in body.items()}

    def read(self, value: object, url: str) -> Completion:
        """Read a response, or one event of a stream."""
        return read_llama(value, url)

    def _body(self, prompt: str, images: Sequence[MediaReference]) -> Body:
        """Return the body of a request for the continuation of a prompt.

        Raises:
            Unsupported: If the chat template does not show each image once.
        """
        if (found := prompt.count(self._marker)) != len(images):
            raise Unsupported(
                f"the conversation has {len(images)} images and its rendered prompt {found}: serve "
                "the model with a chat template that shows each image once"
            )
        if not images:
            return {"prompt": prompt}
        data = [replace(image, form="base64") for image in images]
        return {"prompt": {"prompt_string": prompt, "multimodal_data": data}}
