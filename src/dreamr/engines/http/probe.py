"""Probe a server on first contact: does it do what the engine relies on?

How a chat template continues a known prefix is tested, not assumed. Templates of reasoning models
insert a closed think block before the continuation, or drop the text of earlier turns. If the
server exposes rendered prompts, these are compared; otherwise their token counts are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dreamr._messages import one_line, short_path
from dreamr.conversation import Conversation
from dreamr.engines.http.client import Client
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.fields import Field
from dreamr.engines.http.logprobs import top_words
from dreamr.engines.http.models import Listed, read_models
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.route import Asking, Body, ChatRoute, Route, TextRoute
from dreamr.engines.http.servers import OTHER, Server, recognize
from dreamr.errors import EngineError, EngineLost, ModelNotFound, Unsupported
from dreamr.steps import opens_thought

_QUESTION = "qzuserqz"
TALK = Conversation.from_prompt(_QUESTION)
_STEP = "Two and two make four.\n\n"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Results of probing a server.

    Attributes:
        server: Kind of server.
        model: Name of the model on the server.
        context: Context length in tokens, None if unknown.
        route: How requests are built.
        inserted: Text that the chat template inserts between the opening of the assistant's turn
            and a continued prefix; None if prefixes are continued exactly.
        judges: Whether the server returns probabilities of alternative first tokens.
        shown: Whether rendered prompts could be read, rather than only counted.
        echoes: Whether the server repeats the prefix before its continuation.
        opens_thought: Whether the chat template opens a thought; False if unknown.
    """

    server: Server
    model: str
    context: int | None
    route: Route
    inserted: str | None
    judges: bool
    shown: bool
    echoes: bool = False
    opens_thought: bool = False

    @property
    def exact(self) -> bool:
        """Whether the chat template continues a prefix unchanged."""
        return self.inserted is None


class Probe:
    """Determines how a server treats a known text."""

    def __init__(self, client: Client, options: HttpOptions) -> None:
        self._client, self._options = client, options

    async def run(self) -> ServerInfo:
        """Send the probing requests.

        Raises:
            ModelNotFound: If the server does not have the model.
            EngineError: If the server fails, or cannot continue a text that it did not write.
        """
        listed = await self._listed()
        server, model = recognize(listed.owner), listed.name
        found = await self._rendered(server, model)
        if found is None:
            return await self._counted(server, listed)
        opening, continued, questioned = found
        inserted = _inserted(opening, continued)
        route: Route = ChatRoute(server, "turn" if _STEP.strip() in questioned else "inside")
        if inserted is not None:
            if opening.count(_QUESTION) != 1:
                raise EngineError(_refusal(model, inserted))
            route = TextRoute(opening, _QUESTION)
        info = await self._server_info(server, listed, route, inserted, shown=True)
        return replace(info, opens_thought=opens_thought(opening))

    async def _listed(self) -> Listed:
        """Return the entry of the requested model in the server's list."""
        url, wanted = f"{self._options.base}/models", self._options.model
        try:
            entries = read_models(await self._client.get(url), url)
        except EngineLost:
            raise
        except EngineError as error:
            if wanted is None or not await self._completes(wanted):
                raise error from None  # the address can be wrong
            return Listed(wanted)  # many proxies have no list
        if not entries:
            raise ModelNotFound(f"{url} lists no models: is this the address of a model server?")
        served = one_line(", ".join(sorted(entries)))
        if wanted is None:
            if len(entries) > 1:
                raise ModelNotFound(f"{url} serves several models: choose one of {served}")
            return next(iter(entries.values()))
        if wanted not in entries:
            raise ModelNotFound(f"{url} has no model {wanted!r}: choose one of {served}")
        return entries[wanted]

    async def _completes(self, model: str) -> bool:
        """Check whether a server without a list of models has this model."""
        route = ChatRoute(OTHER)
        try:
            await self._complete(route, {"model": model, "max_tokens": 1, **route.opened(TALK)})
        except EngineLost:
            raise
        except (EngineError, Unsupported):
            return False
        return True

    async def _rendered(self, server: Server, model: str) -> tuple[str, str, str] | None:
        """Return the rendered prompts of an opened turn, a continued turn and a judge call.

        None if the server does not expose them.
        """
        route = ChatRoute(server)
        bodies = (
            {**route.opened(TALK), "add_generation_prompt": True},
            route.continued(TALK, _STEP),
            {**route.with_question(TALK, _STEP, "?"), "add_generation_prompt": True},
        )
        try:
            match server.render:
                case "tokenize":
                    shown = [await self._tokenized(model, body) for body in bodies]
                case "apply-template":
                    shown = [await self._templated(body) for body in bodies]
                case None:
                    return None
        except EngineLost:
            raise
        except EngineError:  # an older version, or the endpoint is disabled
            return None
        return shown[0], shown[1], shown[2]

    async def _tokenized(self, model: str, body: Body) -> str:
        root = self._options.root
        url = f"{root}/tokenize"
        tokens = Field(await self._client.post(url, {"model": model, **body}), url).get("tokens")
        ids = [token.value for token in tokens.items()]
        url = f"{root}/detokenize"
        answer = await self._client.post(url, {"model": model, "tokens": ids})
        return _prompt(answer, url)

    async def _templated(self, body: Body) -> str:
        url = f"{self._options.root}/apply-template"
        return _prompt(await self._client.post(url, body), url)

    async def _counted(self, server: Server, listed: Listed) -> ServerInfo:
        """Derive the same results from the token counts of prompts."""
        model, route = listed.name, ChatRoute(server)
        opened, once, twice, questioned, longer = [
            await self._length(model, route, body)
            for body in (
                route.opened(TALK),
                route.continued(TALK, _STEP),
                route.continued(TALK, _STEP * 2),
                route.with_question(TALK, _STEP, "?"),
                route.with_question(TALK, _STEP * 2, "?"),
            )
        ]
        if twice - once != once - opened:
            raise EngineError(_refusal(model, f"{once - opened - (twice - once):+d} tokens"))
        asking: Asking = "turn" if longer - questioned == twice - once else "inside"
        return await self._server_info(server, listed, ChatRoute(server, asking), None, shown=False)

    async def _length(self, model: str, route: Route, body: Body) -> int:
        request = {"model": model, "max_tokens": 1, "temperature": 0, **body}
        count = (await self._complete(route, request)).usage.prompt
        if count is None:
            raise EngineError(
                f"{self._options.base} does not report prompt_tokens, so dreamr cannot check that "
                "it continues texts: use vLLM, SGLang, llama.cpp or Ollama"
            )
        return count

    async def _server_info(
        self,
        server: Server,
        listed: Listed,
        route: Route,
        inserted: str | None,
        *,
        shown: bool,
    ) -> ServerInfo:
        model = listed.name
        body = {
            "model": model,
            "max_tokens": 1,
            "temperature": 0,
            **route.with_question(TALK, _STEP, "Is it?"),
            **route.tops(server.tops),
        }
        try:
            judges = top_words((await self._complete(route, body)).logprobs).alternatives
        except EngineLost:
            raise
        except EngineError:
            judges = False
        echoes = await self._echoes(model, route)
        return ServerInfo(server, model, listed.context, route, inserted, judges, shown, echoes)

    async def _echoes(self, model: str, route: Route) -> bool:
        request = {
            "model": model,
            "max_tokens": 1,
            "temperature": 0,
            **route.continued(TALK, _STEP),
        }
        return (await self._complete(route, request)).text.startswith(_STEP)

    async def _complete(self, route: Route, body: Body) -> Completion:
        url = f"{self._options.base}{route.path}"
        return Completion.read(await self._client.post(url, body), url)


def _inserted(opening: str, continued: str) -> str | None:
    """Return the text between the opened turn and the prefix, None if there is none.

    If the template changed the end of the opening, the changed text is included.
    """
    if continued == opening + _STEP:
        return None
    shared = 0
    while shared < min(len(opening), len(continued)) and opening[shared] == continued[shared]:
        shared += 1
    return continued[shared:]


def _refusal(model: str, inserted: str) -> str:
    return (
        f"the chat template of {short_path(model)} does not continue the assistant's text "
        f"unchanged (it adds {one_line(inserted)!r}): serve an instruct model, such as "
        "Qwen3-VL-Instruct, or start the server with another --chat-template"
    )


def _prompt(answer: object, url: str) -> str:
    """Return a rendered prompt.

    Raises:
        EngineError: If there is none.
    """
    prompt = Field(answer, url).get("prompt")
    if not prompt.text():
        raise prompt.unreadable("text")
    return prompt.text()
