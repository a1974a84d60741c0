"""The gateway as an ASGI application: routes and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from dreamr._load import Level
from dreamr._option_specs import listed
from dreamr.engines.address import names_loopback
from dreamr.runner import RunHook
from dreamr.serving.drift import Watch
from dreamr.serving.gateway.admission import Admission
from dreamr.serving.gateway.apis.chat import ChatApi
from dreamr.serving.gateway.apis.completions import CompletionsApi
from dreamr.serving.gateway.apis.messages import MessagesApi, TokenCountApi
from dreamr.serving.gateway.apis.protocol import Api
from dreamr.serving.gateway.apis.responses import ResponseStore
from dreamr.serving.gateway.attempts import RequestAttempts
from dreamr.serving.gateway.batch_runs import BatchRuns
from dreamr.serving.gateway.batches import Batches
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.endpoint import Access, Endpoint
from dreamr.serving.gateway.errors import ApiError, api_error, no_such_model, shortened
from dreamr.serving.gateway.files import Files
from dreamr.serving.gateway.keys import ApiKeys, Owners, read_keys
from dreamr.serving.gateway.local_hosts import LocalHostsOnly, OriginForm
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.gateway.memory import Memory
from dreamr.serving.gateway.metrics import Metrics
from dreamr.serving.gateway.page import page_routes
from dreamr.serving.gateway.proxies import TrustedProxies
from dreamr.serving.gateway.public_text import PublicText
from dreamr.serving.gateway.quotas import Quotas
from dreamr.serving.gateway.receiving import Receiver
from dreamr.serving.gateway.request_ids import RequestIds
from dreamr.serving.gateway.responses_endpoint import ResponsesEndpoint, ResumedResponses
from dreamr.serving.gateway.runs import Runs, Shared
from dreamr.serving.gateway.served_models import ServedModels
from dreamr.serving.gateway.served_pair import ServedPair, joint_status
from dreamr.serving.gateway.shared_tuning import SharedTuning
from dreamr.serving.gateway.stored_files import FileStore
from dreamr.serving.gateway.stored_responses import StoredResponses
from dreamr.serving.gateway.stored_runs import StoredRuns
from dreamr.serving.gateway.token_count import TokenCount
from dreamr.serving.gateway.unread_body import DrainBody
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import Store
from dreamr.serving.store.opening import open_store
from dreamr.serving.tuning import Tuner

_REQUEST_HEADERS = (
    "authorization", "content-type", "x-request-id", "x-api-key", "anthropic-version",
    "anthropic-beta", "anthropic-dangerous-direct-browser-access", "x-session-id",
    "idempotency-key",
)  # fmt: skip
_IMAGE_PIXELS = 4 * 2**20  # kept of an image if the models do not say what they use


def build_app(
    pairs: Sequence[ServedPair],
    options: ServeOptions | None = None,
    *,
    media: MediaFetcher | None = None,
    keys: ApiKeys | None = None,
    draining: Draining | None = None,
    hooks: Sequence[RunHook] = (),
    store: Store | None = None,
) -> ASGIApp:
    """Build the gateway for pairs of models.

    Args:
        pairs: At least one pair, the default of the page first.
        options: Access and limits.
        media: Reads the attachments of requests; made from `options` by default.
        keys: Accepted keys; read from the file or variable of `options` by default.
        draining: Whether the gateway is about to stop.
        hooks: Hooks of all runs.
        store: State that replicas share; the one that `options` name by default.

    Raises:
        BadOption: If the file of API keys cannot be read, the address of the store is invalid, or
            two pairs have the same name.
        Unsupported: If the store needs a package that is not installed.
    """
    options = options or ServeOptions()
    found = keys or ApiKeys(read_keys(options), TrustedProxies(options.trusted_proxies))
    admission = Admission(options.max_running, options.max_waiting, shared=lambda: found.shared)
    draining, store = draining or Draining(), store or open_store(options)
    quotas, files = Quotas(store.quotas), FileStore(options, store=store)
    metrics, public = Metrics(store), PublicText.of(*(pair.reasoner for pair in pairs))
    media = media or MediaFetcher(options, files, fit=partial(_image_pixels, pairs))
    shared = Shared(admission, media, public, hooks)
    runs = [_runs(pair, options, shared, metrics) for pair in pairs]
    served = ServedModels(runs, public)
    access = Access(found, quotas, Memory.of(options), draining)
    responses = ResponseStore(store, options.stored_seconds)
    receiver = Receiver(served, options, media, responses)
    stored = StoredRuns(served, receiver, access, metrics, options, store, responses)
    attempts = RequestAttempts(store, options)
    parts = (served, receiver, access, metrics, options, attempts)
    models = _runners(parts, stored)
    endpoints = _Endpoints(pairs, served, found, admission, metrics, draining)
    client = _in_process_client(models, found)
    work = BatchRuns(client, files, store, options.max_running, draining)
    batches = Batches(work, files, options, found, quotas, draining, access.memory)
    routes = [
        *endpoints.routes(),
        *Files(files, options, found, quotas, draining).routes(),
        *batches.routes(),
        *StoredResponses(stored, found, ResumedResponses(stored, *parts), attempts).routes(),
        *models,
    ]
    tuning = (SharedTuning(one.tuner, store, one.pair.name).run for one in runs if one.tuner)
    background = (stored.run, work.run, *(tuning if store.shared else ()))
    return RequestIds(_application(routes, store, background, options))


def _runs(pair: ServedPair, options: ServeOptions, shared: Shared, metrics: Metrics) -> Runs:
    """Return what runs the requests for a pair."""
    watch, tuner = _watch(pair, options, shared.admission), Tuner() if options.tune else None
    return Runs(pair, shared, metrics.of(pair, watch), watch, tuner)


def _runners(parts: tuple[Any, ...], stored: StoredRuns) -> list[Route]:
    """Return the routes of the endpoints that use the models."""
    kinds: list[tuple[type[Endpoint], Api]] = [
        (Endpoint, ChatApi()),
        (Endpoint, CompletionsApi()),
        (Endpoint, MessagesApi()),
        (TokenCount, TokenCountApi()),
    ]
    endpoints = [*(kind(api, *parts) for kind, api in kinds), ResponsesEndpoint(stored, *parts)]
    return [Route(one.path, one, methods=["POST"]) for one in endpoints]


def _application(
    routes: list[Route],
    store: Store,
    work: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    options: ServeOptions,
) -> Starlette:
    """Return the application, in which some work runs from its start to its end."""
    return Starlette(
        routes=routes,
        lifespan=partial(_running, store, work),
        middleware=_middleware(options),
        exception_handlers={ApiError: _refused, HTTPException: _not_found, Exception: _failed},
    )


def _in_process_client(routes: list[Route], keys: ApiKeys) -> httpx2.AsyncClient:
    """Return a client in this process for the requests of batches, which name their client."""
    transport = httpx2.ASGITransport(RequestIds(Owners(Router(routes), keys)))
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway", timeout=None)


@asynccontextmanager
async def _running(
    store: Store, work: Sequence[Callable[[], Coroutine[Any, Any, None]]], _: Starlette
) -> AsyncIterator[None]:
    try:
        async with anyio.create_task_group() as tasks:
            for one in (store.run, *work):
                tasks.start_soon(one)
            yield
            tasks.cancel_scope.cancel()
    finally:
        await store.aclose()


@dataclass(frozen=True, slots=True)
class _Endpoints:
    """The endpoints that use no model."""

    pairs: Sequence[ServedPair]
    served: ServedModels
    keys: ApiKeys
    admission: Admission
    metrics: Metrics
    draining: Draining

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            *page_routes(self.pairs[0].name),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.figures),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.one_model),
        ]

    async def models(self, request: Request) -> Response:
        self.keys.client(request)
        cards = self.served.cards()
        ends = {"first_id": cards[0]["id"], "last_id": cards[-1]["id"]}
        return JSONResponse({"object": "list", "data": cards, "has_more": False, **ends})

    async def one_model(self, request: Request) -> Response:
        self.keys.client(request)
        name, cards = request.path_params["name"], self.served.cards()
        for card in cards:
            if card["id"] == name:
                return JSONResponse(card)
        raise no_such_model(name, [card["id"] for card in cards])

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        found = {pair.name: pair.readiness.report(self.served.public) for pair in self.pairs}
        status = "draining" if self.draining.begun else joint_status(self.pairs)
        usable = status in ("ready", "degraded")
        return JSONResponse({"status": status, "pairs": found}, 200 if usable else 503)

    async def figures(self, _: Request) -> Response:
        text = self.metrics.text(self.admission.running, self.admission.waiting)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _middleware(options: ServeOptions) -> list[Middleware]:
    found = [Middleware(DrainBody), Middleware(OriginForm)]
    if names_loopback(f"[{options.host}]" if ":" in options.host else options.host):
        found.append(Middleware(LocalHostsOnly))
    if allowed_origins := listed(options.allowed_origins):
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=allowed_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=_REQUEST_HEADERS,
                expose_headers=["x-request-id", "retry-after", "idempotent-replayed"],
            )
        )
    return found


def _image_pixels(pairs: Sequence[ServedPair]) -> int:
    """Return the number of pixels to which larger images are shrunk."""
    return max(pair.reasoner.models.image_pixels or _IMAGE_PIXELS for pair in pairs)


def _watch(pair: ServedPair, options: ServeOptions, admission: Admission) -> Watch | None:
    """Return the watch, if audits are on. It leaves requests with another gate alone."""
    if not options.audit_every:
        return None
    return Watch(
        pair.reasoner.gate,
        every=options.audit_every,
        risk=options.audit_risk,
        lower=options.audit_lower,
        busy=lambda: admission.waiting > 0 or pair.load.level >= Level.SMALL_WINDOW,
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    of_messages = request.url.path.startswith(MessagesApi.path)
    body = MessagesApi().error(error) if of_messages else error.body
    return JSONResponse(body, error.status, dict(error.headers))


async def _failed(request: Request, error: Exception) -> Response:
    # The server logs the traceback.
    return await _refused(request, api_error(error))


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = shortened(request.url.path)
    match error.status_code:
        case 404:
            message = f"there is nothing at {path}: the API is at /v1/chat/completions"
        case 405:
            message = f"{request.method} is not allowed at {path}"
        case _:
            message = str(error.detail)
    found = ApiError(error.status_code, message, headers=error.headers or {})
    return await _refused(request, found)
