"""A scripted vLLM that reports the probabilities of given and of chosen tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from dreamr.engines import words
from support.served import Served

Json = dict[str, Any]


@dataclass
class Scoring(Served):
    """A server with the extensions of vLLM for log-probabilities.

    Attributes:
        given: Probability of a token of the prompt, by its text; None for a server that ignores
            `prompt_logprobs`. The best other token has what is left.
        chosen: Whether the probabilities of chosen tokens are reported; a status otherwise.
        answer: What a request for words is answered with.
        ranks: Whether given tokens have ranks.
    """

    given: Callable[[str], float] | None = None
    chosen: bool | int = True
    answer: str = "positive"
    ranks: bool = True

    def _answer(self, body: Json) -> httpx2.Response:
        assert "skip_reading_prefix_cache" not in body  # ends a real server
        if "logprob_token_ids" in body and self.chosen is not True:
            return httpx2.Response(self.chosen or 200, json={"error": {"message": "no such field"}})
        response = super()._answer(body)
        if body.get("stream") or not response.is_success:
            return response
        found = json.loads(response.content)
        choice = found["choices"][0]
        choice["message"]["content"] = self.answer
        if ids := body.get("logprob_token_ids"):
            shares = {self._words[i]: self.labels.get(self._words[i], 1e-9) for i in ids}
            choice["logprobs"]["content"][0]["top_logprobs"] = [
                {"token": token, "logprob": math.log(share)} for token, share in shares.items()
            ]
        if "prompt_logprobs" in body and self.given is not None:
            texts = list(words(self.render(body)))
            found["prompt_token_ids"] = [self._id(text) for text in texts]
            others = body["prompt_logprobs"] > 0
            found["prompt_logprobs"] = [
                None, *(self._scored(text, others=others) for text in texts[1:])
            ]  # fmt: skip
            following = list(words(self.script.removeprefix(self._prefix(body))))
            choice["message"]["content"] = following[0] if following else ""
            choice["finish_reason"] = "length" if following else "stop"
        return httpx2.Response(200, json=found)

    def _scored(self, text: str, *, others: bool = True) -> Json:
        assert self.given is not None
        share = self.given(text)
        rank = {"rank": 1 if share > 0.5 else 2} if self.ranks else {}
        given = {"logprob": math.log(share), "decoded_token": text, **rank}
        other = {"logprob": math.log(1 - share), "decoded_token": "else"}
        return {str(self._id(text)): given} | ({"999999": other} if others else {})
