"""Find out whether a server can judge a window in one request, and whether its verdicts hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from dreamr._messages import one_line
from dreamr.conversation import Conversation
from dreamr.engines.http.candidates import tokens
from dreamr.engines.http.client import Client
from dreamr.engines.http.evidence_probe import EvidenceProbe
from dreamr.engines.http.judging import HttpJudge, Send
from dreamr.engines.http.messages import messages
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.http.rendering import STEP, TALK, RenderedPrompts
from dreamr.engines.http.retries import is_busy
from dreamr.engines.http.routes import Body, ChatRoute, Route, TokensRoute, inside
from dreamr.engines.http.servers import VLLM
from dreamr.engines.http.trials import Trial
from dreamr.engines.http.window import WindowForm
from dreamr.engines.protocol import Context
from dreamr.errors import EngineError, EngineLost, Unsupported
from dreamr.gate import VERDICT

# Largest difference between the probabilities of a label by a window and by a single request.
TOLERANCE = 0.1
_ASKED = "qzaskedqz"  # stands for the judge prompt
_GO_ON = "Go on."  # the user's turn after a verdict
# Windows with which verdicts are compared; the last step of each is wrong.
_EXAMPLES = (
    (
        "What do three teas at 12 and two milks at 16 cost together?",
        ("Three teas cost 36.\n\n", "Two milks cost 32.\n\n", "36 + 32 = 68.\n\n", "It is 41.\n\n"),
    ),
    (
        "Anna is older than Ben, and Ben is older than Carl. Who is the youngest?",
        ("Anna is older than Ben.\n\n", "Ben is older than Carl.\n\n", "So Anna is youngest.\n\n"),
    ),
)

MakeJudge: TypeAlias = Callable[[Callable[[], ServerInfo], Send], HttpJudge]


@dataclass(frozen=True, slots=True)
class WindowProbe:
    """Tries to judge windows in one request each.

    Only vLLM's endpoint for prompts of tokens can. A server that cannot refuses the first request;
    no field that may end a server is sent (see `window`).

    Attributes:
        client: Client of the server.
        options: Address and labels.
        info: What is known of the server.
        make_judge: Makes a judge from the results of a probe and a way to send requests.
    """

    client: Client
    options: HttpOptions
    info: ServerInfo
    make_judge: MakeJudge

    async def run(self) -> ServerInfo:
        """Return what is known of the server, with the form of windows or why there is none.

        Raises:
            EngineLost: If the server cannot be reached.
            EngineError: If it stays busy.
        """
        if self.info.server is not VLLM or not self.info.judges:
            return self.info
        try:
            route = await self._route()
            if route is None:
                problem = "it has no prompts of tokens: start vLLM with --enable-scale-out"
                return replace(self.info, window_problem=problem)
            form = await self._form(route)
            difference = await self._difference(form)
        except EngineLost:
            raise
        except (EngineError, Unsupported) as error:
            if is_busy(error):
                raise
            return replace(self.info, window_problem=one_line(error))
        if difference > TOLERANCE:
            problem = (
                f"its verdicts on a window differ by up to {difference:.2f} from those of single "
                f"requests, and at most {TOLERANCE:g} is allowed"
            )
            return replace(self.info, window_problem=problem, window_difference=difference)
        return replace(self.info, window=form, window_difference=difference)

    async def _route(self) -> TokensRoute | None:
        """Return the route by prompts of tokens, None if the server has none."""
        for route in self.info.routes:
            if isinstance(route, TokensRoute):
                return route
        url = f"{self.options.base}/chat/completions/render"
        body = {"model": self.info.model, "messages": messages(TALK)}
        try:
            await self.client.post_final(url, body)
        except (EngineError, Unsupported) as error:
            # The endpoint is missing, or disabled (status 403).
            if is_busy(error):
                raise
            if not self.client.alive:
                raise
            return None
        flags = getattr(self.info.route, "flags", {})
        found = await tokens(Trial(self.info.server, self._prompts, flags))
        return found if isinstance(found, TokensRoute) else None

    @property
    def _prompts(self) -> RenderedPrompts:
        return RenderedPrompts(self.client, self.options, self.info.model, "tokenize")

    async def _form(self, route: TokensRoute) -> WindowForm:
        """Return the form of windows, with questions as in the single requests of the server."""
        evidence = EvidenceProbe(
            self.client, self.options, self.info.server, route, self.info.model
        )
        labels = [tuple(sorted(ids)) for ids in await evidence.label_sets()]
        if not all(labels):
            raise EngineError("its tokenizer does not tell the verdict's labels apart")
        word, usual = self.options.labels.positive[0], self.info.route
        if not isinstance(usual, ChatRoute) or usual.asking == "inside":
            before, _, after = inside("", _ASKED).partition(_ASKED)
            return WindowForm(route, before, after, f" {word}", "\n\n", False, *labels)
        before, after, keeps = await self._turns(usual)
        resume = before + _GO_ON + after
        return WindowForm(route, before, after, word, resume, keeps, *labels)

    async def _turns(self, route: ChatRoute) -> tuple[str, str, bool]:
        """Return what the chat template writes around a judge prompt.

        Returns:
            The text between the assistant's text and the question, the text after the question, and
            whether white space at the end of the assistant's text is kept.
        """
        opening = await self._prompts.opening(route)
        body = {"add_generation_prompt": True, **await route.with_question(TALK, STEP, _ASKED)}
        asked = (await self._prompts.text(body)).removeprefix(opening)
        before, found, after = asked.partition(_ASKED)
        keeps = before.startswith(STEP)
        text = STEP if keeps else STEP.rstrip()
        if not found or not before.startswith(text):
            raise EngineError("its chat template changes a text that is judged")
        return before.removeprefix(text), after, keeps

    async def _difference(self, form: WindowForm) -> float:
        """Return the largest difference between verdicts of a window and of single requests."""
        info = replace(self.info, window=form)
        judge = self.make_judge(lambda: info, self._send)
        largest = 0.0
        for question, steps in _EXAMPLES:
            context = Context(Conversation.from_prompt(question))
            together = await judge.together(context, steps, VERDICT)
            for one, other in zip(together, await judge.judge(context, steps), strict=True):
                gaps = abs(one.positive - other.positive), abs(one.negative - other.negative)
                largest = max(largest, *gaps)
        return largest

    async def _send(
        self,
        body: Callable[[Route], Awaitable[Body]],
        conversation: Conversation,
        route: Route | None = None,
    ) -> tuple[object, Route]:
        """Send a request once; see `Send`."""
        via = route or self.info.route_for(conversation)
        request = {"model": self.info.model, "max_tokens": 1, **await body(via)}
        answer = await self.client.post_final(via.url(self.options), via.form(request))
        return answer, via
