"""Looking at a server before anything is built on it: does it do what we are about to rely on?

What a chat template makes of a known prefix is looked at, and not believed: templates of models
that think put a closed block of thoughts between the prefix and what follows, or drop what was said
in earlier turns. Where the server shows what it renders, that is compared; else tokens are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dreamr.conversation import Conversation
from dreamr.engines.http.client import Client
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.route import Asking, Body, ChatRoute, Route, TextRoute
from dreamr.engines.http.servers import Server, recognize
from dreamr.engines.http.sse import top_words
from dreamr.errors import EngineError, EngineLost, ModelNotFound

_QUESTION = "qzuserqz"
_TALK = Conversation.from_prompt(_QUESTION)
_STEP = "Two and two make four.\n\n"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What is known of a served model.

    model: its name there. context: tokens it can hold, None if unknown. route: how it is asked.
    inserted: what its chat template puts behind the opening of the assistant's turn where that is
    continued; None where a prefix is continued exactly. judges: whether it tells how probable the
    words of an answer are. shown: whether its prompts could be looked at, or only be counted.
    echoes: whether what it continues comes back in front of what it writes.
    """

    server: Server
    model: str
    context: int | None
    route: Route
    inserted: str | None
    judges: bool
    shown: bool
    echoes: bool = False

    @property
    def exact(self) -> bool:
        """Whether the chat template continues a prefix as it is."""
        return self.inserted is None


class Probe:
    """Asks a server what it does with a known text."""

    def __init__(self, client: Client, options: HttpOptions) -> None:
        self._client, self._options = client, options

    async def run(self) -> ServerInfo:
        """Everything that an engine needs to know.

        Raises:
            ModelNotFound: no model of that name is served.
            EngineError: the server fails, or cannot continue a text that it did not write.
        """
        listed = await self._listed()
        server, model = recognize(listed), str(listed["id"])
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
        return await self._server_info(server, listed, route, inserted, shown=True)

    async def _listed(self) -> Mapping[str, Any]:
        """The entry of our model in the server's list."""
        url = f"{self._options.base}/models"
        answer = await self._client.get(url)
        listed = answer.get("data") if isinstance(answer, dict) else None
        entries = {str(one["id"]): one for one in listed or () if isinstance(one, dict)}
        if not entries:
            raise ModelNotFound(f"{url} lists no model: is this the address of a model server?")
        served = ", ".join(sorted(entries))
        if self._options.model is None:
            if len(entries) > 1:
                raise ModelNotFound(f"{url} serves several models: name one of {served}")
            return next(iter(entries.values()))
        if self._options.model not in entries:
            raise ModelNotFound(f"{url} serves no {self._options.model!r}: name one of {served}")
        return entries[self._options.model]

    async def _rendered(self, server: Server, model: str) -> tuple[str, str, str] | None:
        """The opened turn, the continued one and a question about it, as the model reads them.

        None where the server does not show it.
        """
        route = ChatRoute(server)
        bodies = (
            {**route.opened(_TALK), "add_generation_prompt": True},
            route.continued(_TALK, _STEP),
            {**route.with_question(_TALK, _STEP, "?"), "add_generation_prompt": True},
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
        except EngineError:  # an older version, or one that hides it
            return None
        return shown[0], shown[1], shown[2]

    async def _tokenized(self, model: str, body: Body) -> str:
        root = self._options.root
        ids = await self._client.post(f"{root}/tokenize", {"model": model, **body})
        text = await self._client.post(
            f"{root}/detokenize", {"model": model, "tokens": ids["tokens"]}
        )
        return str(text["prompt"])

    async def _templated(self, body: Body) -> str:
        answer = await self._client.post(f"{self._options.root}/apply-template", body)
        return str(answer["prompt"])

    async def _counted(self, server: Server, listed: Mapping[str, Any]) -> ServerInfo:
        """The same from the numbers of tokens that prompts have."""
        model, route = str(listed["id"]), ChatRoute(server)
        opened, once, twice, questioned, longer = [
            await self._length(model, route, body)
            for body in (
                route.opened(_TALK),
                route.continued(_TALK, _STEP),
                route.continued(_TALK, _STEP * 2),
                route.with_question(_TALK, _STEP, "?"),
                route.with_question(_TALK, _STEP * 2, "?"),
            )
        ]
        if twice - once != once - opened:
            raise EngineError(_refusal(model, f"{once - opened - (twice - once):+d} tokens"))
        asking: Asking = "turn" if longer - questioned == twice - once else "inside"
        return await self._server_info(server, listed, ChatRoute(server, asking), None, shown=False)

    async def _length(self, model: str, route: Route, body: Body) -> int:
        request = {"model": model, "max_tokens": 1, "temperature": 0, **body}
        answer = await self._client.post(f"{self._options.base}{route.path}", request)
        count = (answer.get("usage") or {}).get("prompt_tokens")
        if not isinstance(count, int):
            raise EngineError(
                f"{self._options.base} does not say how long prompts are, so it cannot be told "
                "whether it continues texts: use vLLM, SGLang, llama.cpp or Ollama"
            )
        return count

    async def _server_info(
        self,
        server: Server,
        listed: Mapping[str, Any],
        route: Route,
        inserted: str | None,
        *,
        shown: bool,
    ) -> ServerInfo:
        model = str(listed["id"])
        body = {
            "model": model,
            "max_tokens": 1,
            "temperature": 0,
            **route.with_question(_TALK, _STEP, "Is it?"),
            **route.tops(server.tops),
        }
        try:
            answer = await self._client.post(f"{self._options.base}{route.path}", body)
            judges = len(top_words(answer)) > 1
        except EngineLost:
            raise
        except EngineError:
            judges = False
        echoes = await self._echoes(model, route)
        return ServerInfo(server, model, _context(listed), route, inserted, judges, shown, echoes)

    async def _echoes(self, model: str, route: Route) -> bool:
        request = {
            "model": model,
            "max_tokens": 1,
            "temperature": 0,
            **route.continued(_TALK, _STEP),
        }
        answer = await self._client.post(f"{self._options.base}{route.path}", request)
        choice: Mapping[str, Any] = next(iter(answer.get("choices") or ()), {})
        text = (choice.get("message") or {}).get("content") or choice.get("text") or ""
        return str(text).startswith(_STEP)


def _inserted(opening: str, continued: str) -> str | None:
    """What stands between the opened turn and the prefix, or took the place of its end."""
    if continued == opening + _STEP:
        return None
    shared = 0
    while shared < min(len(opening), len(continued)) and opening[shared] == continued[shared]:
        shared += 1
    return continued[shared:]


def _refusal(model: str, inserted: str) -> str:
    return (
        f"the chat template of {model} does not continue what the assistant has said "
        f"(it puts {inserted!r} there): serve an instruct model, such as Qwen3-VL-Instruct, or "
        "give the server another --chat-template"
    )


def _context(listed: Mapping[str, Any]) -> int | None:
    meta = listed.get("meta") or {}
    found = listed.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train")
    return found if isinstance(found, int) else None
