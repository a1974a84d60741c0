"""Find out which evidence a server can report: labels, chosen tokens, given tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dreamr._concurrency import gather_bounded
from dreamr._messages import one_line
from dreamr.engines.http.client import Client
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.fields import Field
from dreamr.engines.http.given_tokens import ASK_MARGINS, margins, read_given, share_out
from dreamr.engines.http.logprobs import top_words
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.rendering import STEP, TALK
from dreamr.engines.http.retries import is_busy
from dreamr.engines.http.routes import Body, CarriedRoute, ChatRoute, Route, TextRoute
from dreamr.engines.http.servers import OTHER, VLLM, Server
from dreamr.errors import EngineError, EngineLost, Unsupported

_CONCURRENCY = 8
NONE = "it returns no log-probabilities"
CERTAIN = (
    "it reports log-probability 0 for every token, as llama.cpp does with --spec-type: start it "
    "without speculative decoding"
)


def takes_chosen_tokens(route: Route) -> bool:
    """Check whether a route leads to vLLM's endpoint that reports chosen tokens."""
    return isinstance(route, ChatRoute | CarriedRoute)


def reports_given_tokens(route: Route) -> bool:
    """Check whether a route leads to an endpoint of vLLM that reports the tokens of a prompt."""
    return isinstance(route, ChatRoute | CarriedRoute | TextRoute)


def chosen_tokens(tokens: Iterable[int]) -> Body:
    """Return the fields that ask for the probabilities of these tokens."""
    return {"logprobs": True, "logprob_token_ids": list(tokens)}


@dataclass(frozen=True, slots=True)
class EvidenceProbe:
    """Tries what judge calls can ask a server for.

    Attributes:
        client: Client of the server.
        options: Address and labels.
        server: Kind of server.
        route: How requests are built.
        model: Name of the model.
    """

    client: Client
    options: HttpOptions
    server: Server
    route: Route
    model: str

    async def judge_problem(self) -> str:
        """Return why the model cannot judge with probabilities, empty if it can."""
        url = self.route.url(self.options)
        try:
            body = {**self._common, **await self._asking(), **self.route.tops(self.server.tops)}
            answer = await self.client.post(url, self.route.form(body))
            words = top_words(self.route.read(answer, url).logprobs)
        except EngineLost:
            raise
        except (EngineError, Unsupported) as error:
            if is_busy(error):
                raise
            return one_line(error)
        if words.certain:
            return CERTAIN
        return "" if words.alternatives else "it returns no log-probabilities of other tokens"

    async def label_tokens(self) -> tuple[int, ...]:
        """Return the tokens of the labels if the server reports probabilities of chosen tokens.

        The most likely tokens need not include both labels. vLLM with n-gram speculation refuses
        chosen tokens with status 500.
        """
        if self.server is not VLLM or not takes_chosen_tokens(self.route):
            return ()
        try:
            positive, negative = await self.label_sets()
            chosen = tuple(sorted(positive | negative))
            body = {**self._common, **await self._asking(), **chosen_tokens(chosen)}
            answer = Completion.read(await self.client.post_final(self._url, body), self._url)
            words = top_words(answer.logprobs)
        except EngineLost:
            raise
        except (EngineError, Unsupported) as error:  # an older version, or n-gram speculation
            if is_busy(error):
                raise
            return ()
        whole = len(words.known) >= len(chosen) and not words.unknown
        return chosen if positive and negative and whole else ()

    async def label_sets(self) -> tuple[set[int], set[int]]:
        """Return the tokens of the positive label and of the negative one, without those of both.

        Raises:
            EngineError: If the server does not tokenize texts.
        """
        labels = self.options.labels
        positive, negative = (
            await self._tokens(labels.positive),
            await self._tokens(labels.negative),
        )
        return positive - negative, negative - positive

    async def _tokens(self, spellings: Iterable[str]) -> set[int]:
        """Return the tokens of a label, as `dreamr.engines.local` chooses them."""
        url = f"{self.options.root}/tokenize"

        async def tokenized(text: str) -> list[int]:
            body = {"model": self.model, "prompt": text, "add_special_tokens": False}
            ids = Field(await self.client.post_final(url, body), url).get("tokens").items()
            return [one.value for one in ids if isinstance(one.value, int)]

        encoded = await gather_bounded(spellings, tokenized, _CONCURRENCY)
        whole = {ids[0] for ids in encoded if len(ids) == 1}
        return whole or {ids[0] for ids in encoded if ids}

    async def margins(self) -> bool:
        """Return whether the server reports the probabilities of given tokens."""
        if self.server not in (VLLM, OTHER) or not reports_given_tokens(self.route):
            return False  # the others have no such field
        url = self.route.url(self.options)
        try:
            body = {**self._common, **await self.route.continued(TALK, STEP), **ASK_MARGINS}
            answer = await self.client.post_final(url, self.route.form(body))
            shares = share_out(read_given(Field(answer, url)), [STEP])
            return shares is not None and margins(shares[0]).mean_margin is not None
        except EngineLost:
            raise
        except (EngineError, Unsupported) as error:
            if is_busy(error):
                raise
            return False

    async def _asking(self) -> Body:
        """Return a request with a judge prompt."""
        return await self.route.with_question(TALK, STEP, "Is it?")

    @property
    def _common(self) -> Body:
        return {"model": self.model, "max_tokens": 1, "temperature": 0}

    @property
    def _url(self) -> str:
        return self.route.url(self.options)
