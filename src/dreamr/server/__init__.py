"""The gateway: dreamr behind the API that clients know."""

from dreamr._serving import ServeOptions
from dreamr.server._app import build_app
from dreamr.server._serve import http_server, listen, serve

__all__ = ["ServeOptions", "build_app", "http_server", "listen", "serve"]
