"""Questions about several steps in one prompt, answered by one request.

vLLM's endpoint for prompts of tokens reports the log-probabilities of chosen tokens at places of a
prompt (`prompt_logprob_token_ids`, of its V2 model runner). So one prompt can hold the judge
prompts about all steps of a window:

    text, step, question, "positive", step, question, "positive", step, question, "positive"

The labels are scored where each answer begins. The first verdict is that of a single judge prompt.
Each later one also depends on the earlier questions, which are answered by "positive". This is the
answer that they have got if the verdict counts, because steps after a rejected one are discarded.
A model may still repeat itself, so `window_probe` compares such verdicts with those of single
requests before they are used.

The server reads the whole prompt for such a request. `skip_reading_prefix_cache: false` would let
it use its prefix cache, but beside `prompt_logprobs` that field ends servers of the V1 runner, so
it is not sent here either.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.conversation import Conversation
from dreamr.engines.http.fields import Field
from dreamr.engines.http.routes import Body, TokensRoute
from dreamr.errors import EngineError
from dreamr.gate import Evidence

_UNSCORED = [-1]  # at a place without an answer
_ROUNDING = 1e-3  # of log-probabilities of almost certain tokens, and of sums of probabilities


@dataclass(frozen=True, slots=True)
class WindowForm:
    """How the questions about several steps stand in one prompt.

    Attributes:
        route: Route of the requests.
        before: Text between a step and a question.
        after: Text between a question and its answer.
        answer: Answer after each question.
        resume: Text between an answer and the next step.
        keeps: Whether white space at the end of a step stays in front of a question.
        positive: Tokens of the positive label.
        negative: Tokens of the negative label.
    """

    route: TokensRoute
    before: str
    after: str
    answer: str
    resume: str
    keeps: bool
    positive: tuple[int, ...]
    negative: tuple[int, ...]

    def texts(
        self, prefix: str, steps: Sequence[str], asked: Sequence[int], question: str
    ) -> list[str]:
        """Return the prompt after the opening, in pieces: questions and answers in turns.

        Args:
            prefix: The assistant's text before the steps.
            steps: The steps.
            asked: Places of the steps that are asked about, in order; at least one.
            question: The judge prompt.
        """
        pieces, text = [], prefix
        for place, step in enumerate(steps[: asked[-1] + 1]):
            text += step
            if place in asked:
                shown = text if self.keeps else text.rstrip()
                pieces += [shown + self.before + question + self.after, self.answer + self.resume]
                text = ""
        return [*pieces[:-1], self.answer]

    async def request(
        self,
        conversation: Conversation,
        prefix: str,
        steps: Sequence[str],
        asked: Sequence[int],
        question: str,
    ) -> Body:
        """Return the body of a request; see `texts`.

        Row i of the scores that it asks for predicts token `prompt_logprob_start` + i + 1 of the
        prompt. There is one row for each token up to the last, also where nothing is scored.
        """
        texts = self.texts(prefix, steps, asked, question)
        body, ends = await self.route.in_pieces(conversation, texts)
        start = ends[0] - 1
        rows = [_UNSCORED] * (len(body["token_ids"]) - 1 - start)
        for end in ends[::2]:  # of the questions
            rows[end - 1 - start] = [*self.positive, *self.negative]
        fields = {"prompt_logprob_token_ids": rows, "prompt_logprob_start": start, "max_tokens": 1}
        return {**body, **fields}

    def read(self, answer: Field, request: Body) -> list[Evidence]:
        """Return the evidence of each answer, in order.

        Args:
            answer: Response to the request.
            request: Body that `request` returned.

        Raises:
            EngineError: If the scores are missing, too few, or not log-probabilities.
        """
        rows = request["prompt_logprob_token_ids"]
        scores = _scores(answer, (len(rows), len(self.positive) + len(self.negative)))
        asked = [place for place, row in enumerate(rows) if row != _UNSCORED]
        return [self._evidence(scores[place], answer.url) for place in asked]

    def _evidence(self, logprobs: Sequence[float], url: str) -> Evidence:
        shares = [math.exp(min(logprob, 1.0)) for logprob in logprobs]
        mass = sum(shares)
        if not 0 < mass <= 1 + _ROUNDING:  # also if one is not a number
            raise EngineError(f"{url} returned scores of labels that are not log-probabilities")
        positive = sum(shares[: len(self.positive)])
        negative = mass - positive
        # The likeliest token is known to be a label if all others have less than one of them.
        top = True if max(shares) > 1 - mass else None
        return Evidence(min(1.0, positive), min(1.0, max(0.0, negative)), top_label=top)


def _scores(answer: Field, shape: tuple[int, int]) -> list[list[float]]:
    """Return the scores of a response, which vLLM sends as a NumPy file in base64.

    The shape is checked before anything of its size is allocated.
    """
    import numpy as np  # here because most servers do not score windows
    from numpy.lib import format as npy

    field = answer.get("prompt_token_id_logprobs")
    if field.value is None:
        raise EngineError(f"{answer.url} ignored the field prompt_logprob_token_ids")
    unreadable = EngineError(f"{answer.url} sent {field.path} in an unknown form")
    try:
        file = io.BytesIO(base64.b64decode(field.piece(), validate=True))
        if npy.read_magic(file) != (1, 0):
            raise unreadable
        form, columns_first, dtype = npy.read_array_header_1_0(file)
    except (binascii.Error, ValueError) as error:
        raise unreadable from error
    if form != shape:
        raise EngineError(f"{answer.url} returned scores of shape {form} instead of {shape}")
    content = file.read()
    size = dtype.itemsize * shape[0] * shape[1]
    if columns_first or dtype.kind != "f" or len(content) != size:
        raise unreadable
    scores: list[list[float]] = np.frombuffer(content, dtype).reshape(shape).tolist()
    return scores
