"""The live page and its scripts and styles, which connect only to the gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dreamr.gate import SCORE_NAMES

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
    "media-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a new version of the gateway has new files of the same names
}
_MEDIA_TYPES: Mapping[str, str] = {"css": "text/css", "js": "text/javascript"}


def page_routes(model: str) -> list[Route]:
    """Return the routes of the live page.

    The content security policy allows scripts, styles and requests of the gateway only, and no
    text as markup.

    Args:
        model: Name under which the gateway serves the pair.
    """
    page, assets = _page(model), _assets()

    async def html(_: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            raise HTTPException(404)
        media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
        return Response(assets[name], media_type=media_type, headers=_HEADERS)

    return [Route("/", html), Route("/static/{name}", asset)]


def _page(model: str) -> str:
    text = files("dreamr.serving.gateway").joinpath("static/page.html").read_text(encoding="utf-8")
    scores = escape(json.dumps(dict(SCORE_NAMES)))
    return text.replace("{{model}}", escape(model)).replace("{{scores}}", scores)


def _assets() -> Mapping[str, str]:
    folder = files("dreamr.serving.gateway").joinpath("static")
    names = [file.name for file in folder.iterdir()]
    return {
        name: folder.joinpath(name).read_text(encoding="utf-8")
        for name in names
        if name.rpartition(".")[2] in _MEDIA_TYPES
    }
