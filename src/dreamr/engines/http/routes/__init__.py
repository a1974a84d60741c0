"""Routes: the ways to continue the assistant's text on a server, one per file."""

from dreamr.engines.http.routes.chat import ChatRoute
from dreamr.engines.http.routes.completion import CompletionRoute
from dreamr.engines.http.routes.generate import GenerateRoute
from dreamr.engines.http.routes.route import Asking, Body, OpenAiRoute, Reader, Route, inside
from dreamr.engines.http.routes.text import TextRoute

__all__ = [
    "Asking",
    "Body",
    "ChatRoute",
    "CompletionRoute",
    "GenerateRoute",
    "OpenAiRoute",
    "Reader",
    "Route",
    "TextRoute",
    "inside",
]
