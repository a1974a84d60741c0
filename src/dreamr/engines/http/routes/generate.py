"""Route by SGLang's own generation endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from dreamr.engines.http.completions import Completion
from dreamr.engines.http.media_parts import MediaReference
from dreamr.engines.http.native import SglangReader
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.routes.chat import ChatRoute
from dreamr.engines.http.routes.prompt import PromptRoute, Render
from dreamr.engines.http.routes.route import Body, Reader

# Fields that are not parameters of sampling.
_OUTSIDE = (
    "text", "image_data", "stream", "rid", "return_logprob", "top_logprobs_num",
    "return_text_in_logprobs", "token_ids_logprob",
)  # fmt: skip
_NAMES = {"max_tokens": "max_new_tokens", "seed": "sampling_seed"}
_UNKNOWN = ("model", "stream_options")


class GenerateRoute(PromptRoute):
    """Requests to /generate, with the prompt as text: token ids beside images are read wrongly.

    Args:
        chat: Route by chat completions, whose requests are rendered.
        render: Returns the prompt that the server makes of such a request.
        begins: Beginning of rendered prompts that the server adds by itself to a text.
        labels: Ids of the tokens whose log-probabilities each answer reports.
    """

    name: ClassVar[str] = "generate"

    def __init__(
        self, chat: ChatRoute, render: Render, begins: str = "", labels: Sequence[int] = ()
    ) -> None:
        super().__init__(chat, render)
        self._begins, self._labels = begins, tuple(labels)

    def url(self, options: HttpOptions) -> str:
        """Return the address of the endpoint."""
        return f"{options.root}/generate"

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        labels = {"token_ids_logprob": list(self._labels)} if self._labels and count > 1 else {}
        return {
            "return_logprob": True,
            "top_logprobs_num": count,
            "return_text_in_logprobs": True,
            **labels,
        }

    def form(self, body: Body) -> Body:
        """Return a body with the names of fields that the endpoint has."""
        outside = {name: value for name, value in body.items() if name in _OUTSIDE}
        sampling = {
            _NAMES.get(name, name): value
            for name, value in body.items()
            if name not in outside and name not in _UNKNOWN
        }
        return {**outside, "sampling_params": sampling}

    def read(self, value: object, url: str) -> Completion:
        """Read a response that is not streamed."""
        return self.reader()(value, url)

    def reader(self) -> Reader:
        """Return the function that reads the events of one stream, in order."""
        return SglangReader()

    def _body(self, prompt: str, images: Sequence[MediaReference]) -> Body:
        """Return the body of a request for the continuation of a prompt."""
        text = prompt.removeprefix(self._begins)
        data = [replace(image, form="uri") for image in images]
        return {"text": text, "image_data": data} if images else {"text": text}
