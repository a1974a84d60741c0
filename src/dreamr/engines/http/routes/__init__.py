"""Routes: the ways to continue the assistant's text on a server, one per file."""

from dreamr.engines.http.routes.chat import ChatRoute
from dreamr.engines.http.routes.route import Asking, Body, OpenAiRoute, Route, inside
from dreamr.engines.http.routes.text import TextRoute

__all__ = ["Asking", "Body", "ChatRoute", "OpenAiRoute", "Route", "TextRoute", "inside"]
