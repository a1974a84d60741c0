"""The gateway: dreamr as an OpenAI-compatible HTTP server."""

from dreamr.serving.gateway.app import build_app
from dreamr.serving.gateway.served_pair import ServedPair, open_pairs, reasoners_for
from dreamr.serving.gateway.server import http_server, listen, serve
from dreamr.serving.options import ServeOptions

__all__ = [
    "ServeOptions",
    "ServedPair",
    "build_app",
    "http_server",
    "listen",
    "open_pairs",
    "reasoners_for",
    "serve",
]
