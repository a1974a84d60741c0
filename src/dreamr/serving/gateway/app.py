"""The gateway as an ASGI application: its routes, and who may reach them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from dreamr._option_specs import listed
from dreamr._reasoner import Reasoner
from dreamr._version import __version__
from dreamr.serving.drift import Watch
from dreamr.serving.gateway.admission import Admission
from dreamr.serving.gateway.chat import Chat
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.keys import Keys, read_keys
from dreamr.serving.gateway.load import Level, Load
from dreamr.serving.gateway.media import Pictures
from dreamr.serving.gateway.metrics import Metrics
from dreamr.serving.gateway.page import read_page
from dreamr.serving.options import ServeOptions

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def build_app(
    reasoner: Reasoner,
    options: ServeOptions | None = None,
    *,
    pictures: Pictures | None = None,
    load: Load | None = None,
) -> Starlette:
    """The gateway over an open Reasoner.

    Args:
        reasoner: open, and kept open by the caller.
        options: what it allows.
        pictures: reads pictures, in the place of the usual ones, for tests.
        load: what is known about the target's pace already.

    Raises:
        BadOption: the file of keys cannot be read.
    """
    options = options or ServeOptions()
    keys = Keys(read_keys(options))
    admission = Admission(options.max_running, options.max_waiting)
    load = load or Load(aware=options.load_aware)
    watch = _watch(reasoner, options, admission, load)
    metrics = Metrics(watch)
    chat = Chat(
        reasoner,
        options,
        keys=keys,
        admission=admission,
        load=load,
        metrics=metrics,
        pictures=pictures or Pictures(options),
        watch=watch,
    )

    async def models(request: Request) -> Response:
        keys.client(request)
        return JSONResponse({"object": "list", "data": [_card(reasoner, options, watch)]})

    async def one_model(request: Request) -> Response:
        keys.client(request)
        name = request.path_params["name"]
        if name != options.served_model_name:
            raise ApiError(404, f"there is no model {name!r}", param="model")
        return JSONResponse(_card(reasoner, options, watch))

    async def health(_: Request) -> Response:
        lost = [role for role, model in reasoner.models.items() if not model.engine.alive]
        if "target" in lost or len(lost) == len(reasoner.models):
            return JSONResponse({"status": "lost", "lost": lost}, 503)
        return JSONResponse({"status": "degraded" if lost else "ok", "lost": lost})

    async def figures(_: Request) -> Response:
        text = metrics.text(load, admission.running, admission.waiting)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    shown, safe = read_page(options.served_model_name)

    async def page(_: Request) -> Response:
        return HTMLResponse(shown, headers=safe)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/health", health),
            Route("/metrics", figures),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", one_model),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ],
        middleware=_middleware(options),
        exception_handlers={ApiError: _refused, HTTPException: _not_found},
    )


def _middleware(options: ServeOptions) -> list[Middleware]:
    found = []
    if options.host in _LOOPBACK:
        # A page of somebody else's whose name leads to our address is not let in.
        allowed = ["127.0.0.1", "localhost", "[::1]", "::1"]
        found.append(Middleware(TrustedHostMiddleware, allowed_hosts=allowed, www_redirect=False))
    if allowed_origins := listed(options.allowed_origins):
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type"],
            )
        )
    return found


def _watch(
    reasoner: Reasoner, options: ServeOptions, admission: Admission, load: Load
) -> Watch | None:
    """Over runs with the options' own gate; requests that want another are not audited."""
    if not options.audit_every:
        return None
    return Watch(
        reasoner.gate,
        every=options.audit_every,
        risk=options.audit_risk,
        lower=options.audit_lower,
        busy=lambda: admission.waiting > 0 or load.level >= Level.SMALL_WINDOW,
    )


def _card(reasoner: Reasoner, options: ServeOptions, watch: Watch | None) -> dict[str, object]:
    about: dict[str, object] = {"method": reasoner.options.method, "version": __version__}
    if watch is not None:
        about["drift"] = watch.alarm
    about |= {role: model.engine.name for role, model in reasoner.models.items()}
    return {
        "id": options.served_model_name,
        "object": "model",
        "created": 0,
        "owned_by": "dreamr",
        "dreamr": about,
    }


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status, dict(error.headers))


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = ApiError(error.status_code, str(error.detail), headers=error.headers or {})
    return await _refused(request, said)
