"""Judge calls to one server: one concurrent request per step, or one about all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

import anyio

from dreamr._concurrency import gather_bounded
from dreamr._messages import short_path
from dreamr.conversation import Conversation
from dreamr.engines.http.completions import Usage
from dreamr.engines.http.draws import undrawn
from dreamr.engines.http.evidence_probe import (
    CERTAIN,
    NONE,
    chosen_tokens,
    reports_given_tokens,
    takes_chosen_tokens,
)
from dreamr.engines.http.fields import Field
from dreamr.engines.http.given_tokens import ASK_MARGINS, margins, read_given, share_out
from dreamr.engines.http.logprobs import UNKNOWN, TopWords, top_words
from dreamr.engines.http.margin_cost import FIXED_TOKENS, MarginCost, decides
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.http.prompt_counts import PromptCounts
from dreamr.engines.http.routes import Body, Route
from dreamr.engines.http.window import WindowForm
from dreamr.engines.prompts import questions_for
from dreamr.engines.protocol import Context
from dreamr.errors import ContextTooLong, EngineError, EngineLost, Unsupported
from dreamr.gate import VERDICT, Evidence, Query

_DIGITS = [(str(digit), f" {digit}") for digit in range(10)]
_WORD_TOKENS = 6  # of an answer in words: a label, perhaps after a quotation mark
_MARGINS = -1  # in a list of the steps' places: the request for the margins of all steps
_CHARACTERS_PER_TOKEN = 4  # a rough estimate is enough for the limit

_IN_WINDOW = ("verdict", "seen", "follows")  # questions that are the same for every step


class Send(Protocol):
    """A way to send requests to a server."""

    async def __call__(
        self,
        body: Callable[[Route], Awaitable[Body]],
        conversation: Conversation,
        route: Route | None = None,
    ) -> tuple[object, Route]:
        """Send a request about a conversation.

        Args:
            body: Makes the request for a route.
            conversation: The conversation.
            route: Route of the request; None for that of the conversation.

        Returns:
            The JSON of the response, and the route that reads it.
        """
        ...


class HttpJudge:
    """Judge calls to one server.

    Args:
        options: Address, judge prompt and labels.
        info: Returns the latest results of the probe.
        send: Sends requests.
        count: Returns the number of tokens of a conversation.
        warn: Warns once about the model; takes the message after its name.

    Attributes:
        prompts: Prompt tokens of the latest request about each conversation.
        prompt_tokens: Prompt tokens of all calls, as reported by the server.
        cached_tokens: Those of `prompt_tokens` that came from the prefix cache.
    """

    def __init__(
        self,
        options: HttpOptions,
        info: Callable[[], ServerInfo],
        send: Send,
        count: Callable[[Conversation], Awaitable[int]],
        warn: Callable[[str], None],
    ) -> None:
        self._options, self._info = options, info
        self._send, self._count, self._warn = send, count, warn
        self._failing: WindowForm | None = None  # how a window could not be judged
        self._cost = MarginCost()
        self.prompts = PromptCounts()
        self.prompt_tokens = 0
        self.cached_tokens = 0

    def forget(self) -> None:
        """Forget what was measured, for a server that has changed."""
        self.prompts.clear()
        self._cost = MarginCost()

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Judge consecutive steps; see `Engine.judge`.

        Raises:
            ContextTooLong: If steps and judge prompt do not fit into the model's context.
            Unsupported: If the server does not report what the query needs.
            EngineLost: If the server cannot be reached and no retries are left.
        """
        if query.kind == "agreement" and not query.margins:
            raise Unsupported(
                "token-sd compares each token with the target's own choice, which servers do not "
                "return efficiently: use fpsr"
            )
        steps = tuple(candidates)
        found = [Evidence(0.0, 0.0) for _ in steps]
        asked = [place for place, step in enumerate(steps) if query.concerns(step)]

        if (whole := await self._in_one(context, steps, asked, query)) is not None:
            return whole

        answers: dict[int, Evidence] = {}
        seconds = list[float]()  # of each question

        async def work(place: int) -> None:
            if place != _MARGINS:
                text, began = "".join((*context.prefix, *steps[: place + 1])), anyio.current_time()
                answers[place] = await self._answer(context.conversation, text, query, place)
                seconds.append(anyio.current_time() - began)
            elif await self._reads_margins(context, steps, query):
                found[:] = await self._margins(context, steps)

        first = [_MARGINS] if query.margins else []
        if query.target_confidence is not None:  # the margins decide which steps are asked about
            await gather_bounded(first, work, 1)
            asked, first = self._in_doubt(asked, found, query), []
        await gather_bounded([*first, *asked], work, len(steps) + 1)
        if seconds:
            self._cost.note_questions(max(seconds))
        return tuple(
            _merged(one, answers[place]) if place in answers else one
            for place, one in enumerate(found)
        )

    # A window in one request

    async def _in_one(
        self, context: Context, steps: Sequence[str], asked: Sequence[int], query: Query
    ) -> tuple[Evidence, ...] | None:
        """Judge by one request if the query allows it and the server can; None otherwise.

        After a failure, the server is asked about single steps until it is probed again.
        """
        info = self._info()
        if info.window is None or info.window is self._failing or len(asked) < 2:
            return None
        if not query.window or query.kind not in _IN_WINDOW or query.margins:
            return None
        if info.taking(context.conversation) is not info.route:  # the form is that of this route
            return None
        try:
            return await self.together(context, steps, query)
        except EngineLost:
            raise
        except ContextTooLong:  # prompts about single steps are shorter
            return None
        except (EngineError, Unsupported) as error:
            self._failing = info.window
            self._warn(f"judges steps one by one now, a request about a window failed: {error}")
            return None

    async def together(
        self, context: Context, steps: Sequence[str], query: Query
    ) -> tuple[Evidence, ...]:
        """Judge consecutive steps by one request.

        Raises:
            Unsupported: If the server does not judge several steps in one request.
            EngineError: If it does not score them.
        """
        form = self._info().window
        if form is None:
            raise Unsupported(f"{self._name} does not judge a window in one request")
        asked = [place for place, step in enumerate(steps) if query.concerns(step)]
        request: Body = {}

        async def body(_: Route) -> Body:
            nonlocal request
            prefix, question = "".join(context.prefix), self._question(query, 0)
            request = await form.request(context.conversation, prefix, steps, asked, question)
            return {**request, **undrawn(self._info().server)}

        sent, route = await self._send(body, context.conversation, form.route)
        url = route.url(self._options)
        self._note_usage(context.conversation, route.read(sent, url).usage)
        evidence = iter(form.read(Field(sent, url), request))
        return tuple(
            next(evidence) if place in asked else Evidence(0.0, 0.0) for place in range(len(steps))
        )

    # Margins

    async def _reads_margins(self, context: Context, steps: Sequence[str], query: Query) -> bool:
        """Return whether margins pay for a query that needs them."""
        if not self._info().margins:
            raise Unsupported(
                f"{self._name} does not report the probabilities of given tokens: use --gate ratio"
            )
        if query.kind == "agreement":  # there is no question that could decide instead
            return True
        characters = sum(map(len, (*context.prefix, *steps)))
        tokens = await self._count(context.conversation) + characters // _CHARACTERS_PER_TOKEN
        if self._cost.pays(tokens, query):
            return True
        what = "reads the whole prompt again for the probabilities of given tokens"
        if not decides(query):
            self._warn(f"{what}: prompts above {FIXED_TOKENS:,} tokens are decided by the ratio")
        elif self._cost.known:
            self._warn(f"{what}: where that takes longer than it saves, the ratio decides")
        return False

    def _in_doubt(self, asked: list[int], found: Sequence[Evidence], query: Query) -> list[int]:
        """Return the places that the margins leave to a question."""
        doubt = [place for place in asked if not query.skips(found[place])]
        if any(found[place].tokens for place in asked):
            self._cost.note_spared(1 - len(doubt) / len(asked))
        return doubt

    async def _margins(self, context: Context, steps: Sequence[str]) -> list[Evidence]:
        """Return the evidence of the steps' own tokens, from one request."""
        text, began = "".join((*context.prefix, *steps)), anyio.current_time()

        async def body(route: Route) -> Body:
            if not reports_given_tokens(route):
                raise Unsupported(
                    f"{self._name} does not report the probabilities of given tokens by the route "
                    f"{route.name}: use --gate ratio"
                )
            return {**await route.continued(context.conversation, text), **ASK_MARGINS}

        answer, route = await self._send(body, context.conversation)
        url = route.url(self._options)
        given = read_given(Field(answer, url))
        self._cost.note_margins(anyio.current_time() - began, len(given))
        tokens = share_out(given, steps)
        if tokens is None:
            raise EngineError(f"{url} returned tokens that do not spell the drafted steps")
        return [margins(one) for one in tokens]

    # Questions

    async def _answer(
        self, conversation: Conversation, text: str, query: Query, place: int
    ) -> Evidence:
        """Send the judge prompt about a step and return the evidence of its answer."""
        in_words = query.kind == "word"

        async def body(route: Route) -> Body:
            asked = await route.with_question(conversation, text, self._question(query, place))
            if in_words:
                return {**asked, "max_tokens": _WORD_TOKENS, **undrawn(self._info().server)}
            return {**asked, **self._tops(route, query), **undrawn(self._info().server)}

        sent, route = await self._send(body, conversation)
        answer = route.read(sent, route.url(self._options))
        self._note_usage(conversation, answer.usage)
        if in_words:
            return self._read_word(answer.text)
        words = top_words(answer.logprobs)
        if not words.known:
            why = CERTAIN if words.certain else f"{NONE}: use --gate word"
            raise Unsupported(f"{self._name} cannot judge: {why}")
        if words.unknown:
            self._warn(UNKNOWN)
        return self._read(words, query)

    def _note_usage(self, conversation: Conversation, usage: Usage) -> None:
        if usage.impossible:
            self._warn(
                "reports more cached tokens than prompt tokens: its counts of cached tokens are "
                "ignored"
            )
        if usage.prompt is not None:
            self.prompts.keep(conversation, usage.prompt)
        self.prompt_tokens += usage.prompt or 0
        self.cached_tokens += usage.cached or 0

    def _question(self, query: Query, place: int) -> str:
        questions = questions_for(self._info().model, self._options.judge_prompt)
        match query.kind:
            case "score":
                return questions.score
            case "seen":
                return questions.seen
            case "follows":
                return questions.follows
            case "same":
                return questions.about(query.others[place])
            case _:
                return questions.verdict

    def _tops(self, route: Route, query: Query) -> Body:
        """Return the fields that ask for the probabilities of the answers."""
        info = self._info()
        if info.label_tokens and query.kind != "score" and takes_chosen_tokens(route):
            return chosen_tokens(info.label_tokens)
        return route.tops(info.server.tops)

    def _read(self, words: TopWords, query: Query) -> Evidence:
        if query.kind == "score":
            return Evidence(0.0, 0.0, scores=tuple(words.masses(_DIGITS, worst=0)))
        labels = self._options.labels
        spelled = (labels.positive, labels.negative)
        positive, negative = words.masses(spelled, worst=1)
        return Evidence(positive, negative, top_label=words.top_is_label(spelled))

    def _read_word(self, text: str) -> Evidence:
        """Return the evidence of an answer in words."""
        label = self._options.labels.read(text)
        shares = (0.0, 0.0) if label is None else (float(label), float(not label))
        return Evidence(*shares, top_label=label is not None, answer=text.strip())

    @property
    def _name(self) -> str:
        return f"{short_path(self._info().model)} at {self._options.base}"


def _merged(margins: Evidence, answer: Evidence) -> Evidence:
    """Return the evidence of an answer with what is known of the step's own tokens."""
    return replace(
        margins,
        positive=answer.positive,
        negative=answer.negative,
        scores=answer.scores,
        top_label=answer.top_label,
        answer=answer.answer,
    )
