"""A scripted vLLM with `--enable-scale-out` that scores chosen tokens at places of a prompt.

It behaves as vLLM 0.32 is documented to on its V2 model runner, and checks requests as that does.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import httpx2
import numpy as np

from support.served import Json
from support.templated import Templated

Scores = Literal[
    "given", "refused", "ignored", "short", "zeros", "nan", "padding", "objects", "garbage", "half"
]
_NEEDS_V2 = "prompt_logprob_token_ids requires the V2 model runner (VLLM_USE_V2_MODEL_RUNNER=1)."
_WORDS = ("positive", "negative")


def ends_right(prompt: str) -> float:
    """Return the share of "positive": low where the last step before the question is wrong."""
    step = prompt.rpartition("Is the last step right")[0][-40:]
    return 0.08 if "It is 41" in step or "Anna is youngest" in step or "wrong" in step else 0.9


def repeats_itself(prompt: str) -> float:
    """Return the share of a model that says "positive" after it has said so."""
    answered = prompt.count("Is the last step right") > 1
    return 0.9 if answered else ends_right(prompt)


@dataclass
class WindowServed(Templated):
    """A server that judges windows.

    Attributes:
        share: Probability of "positive" after a prompt; that of "negative" is the rest.
        scores: How it answers a request for scores. 'refused': as the V1 model runner. 'ignored':
            as an older version. The others are answers that cannot be used: 'half' has scores of
            the type float16 and can.
        metrics: Its metrics, as Prometheus reads them; empty if it has none.
        most: Longest prompt with scores in tokens, None without a limit.
    """

    share: Callable[[str], float] = ends_right
    scores: Scores = "given"
    tokens: bool = True
    metrics: str = ""
    most: int | None = None

    def __post_init__(self) -> None:
        Templated.__post_init__(self)
        self.windows: list[str] = []  # prompts with scores

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/metrics" and self.metrics:
            return httpx2.Response(200, text=self.metrics)
        return await super().handle(request)

    def _answer(self, body: Json) -> httpx2.Response:
        share = self.share(self.render(body))
        self.labels = {"positive": share, "negative": 1 - share}
        return super()._answer(body)

    async def _generated(self, request: httpx2.Request, body: Json) -> httpx2.Response:
        sampling = body["sampling_params"]
        # Beside prompt_logprobs, the former ends a real server.
        assert not {"skip_reading_prefix_cache", "prompt_logprobs"} & sampling.keys()
        rows = sampling.pop("prompt_logprob_token_ids", None)
        start = sampling.pop("prompt_logprob_start", 0)
        if rows is None or self.scores == "ignored":
            return await super()._generated(request, body)
        scored = len(body["token_ids"]) - 1 - start
        message = ""
        if self.scores == "refused":
            message = _NEEDS_V2
        elif len(rows) != scored:
            message = f"{len(rows)} rows, but the prompt has {scored} scored rows"
        elif not all(isinstance(one, int) and one >= -1 for row in rows for one in row):
            message = "prompt_logprob_token_ids must contain integer token ids."
        elif max(map(len, rows)) > 20:
            message = "greater than max allowed: 20"
        elif self.most is not None and len(body["token_ids"]) > self.most:
            message = f"This model's maximum context length is {self.most} tokens."
        if message:
            return httpx2.Response(400, json={"error": {"message": message, "code": 400}})
        prompt = body["token_ids"]
        self.windows.append(self._text(prompt))
        response = await super()._generated(request, body)
        found = self._scored(prompt, rows, start)
        value = {**json.loads(response.content), "prompt_token_id_logprobs": self._sent(found)}
        return httpx2.Response(response.status_code, json=value)

    def _scored(self, prompt: list[int], rows: list[list[int]], start: int) -> np.ndarray:
        width = max(map(len, rows))
        found = np.full((len(rows), width), -math.inf, np.float32)
        for place, row in enumerate(rows):
            text = self._text(prompt[: start + place + 1])
            for column, one in enumerate(row):
                if one >= 0:
                    found[place, column] = self._logprob(text, self._known[one])
        return found

    def _logprob(self, text: str, token: str) -> float:
        usual = [(" " if text.endswith(":") else "") + word for word in _WORDS]
        if not text.endswith((":", "\n")):  # no answer begins here
            return math.log(1e-9)
        share = self.share(text)
        shares = dict(zip(usual, (share, 1 - share), strict=True))
        return math.log(shares.get(token, 1e-9))

    def _sent(self, found: np.ndarray) -> str | None:
        match self.scores:
            case "short":
                found = found[1:]
            case "zeros":
                found = np.zeros_like(found)
            case "nan":
                found = np.full_like(found, math.nan)
            case "padding":
                found = np.full_like(found, -math.inf)
            case "objects":
                found = found.astype(str)
            case "half":
                found = found.astype(np.float16)
            case "garbage":
                return "bm90IGFuIGFycmF5"
        file = io.BytesIO()
        np.save(file, found, allow_pickle=False)
        return base64.b64encode(file.getvalue()).decode()
