"""Routes: the ways to continue the assistant's text on a server, one per file."""

from dreamr.engines.http.routes.carried import CarriedRoute
from dreamr.engines.http.routes.chat import ChatRoute
from dreamr.engines.http.routes.completion import CompletionRoute
from dreamr.engines.http.routes.generate import GenerateRoute
from dreamr.engines.http.routes.route import Asking, Body, Kind, OpenAiRoute, Reader, Route, inside
from dreamr.engines.http.routes.text import TextRoute
from dreamr.engines.http.routes.tokens import TokensRoute

__all__ = [
    "Asking",
    "Body",
    "CarriedRoute",
    "ChatRoute",
    "CompletionRoute",
    "GenerateRoute",
    "Kind",
    "OpenAiRoute",
    "Reader",
    "Route",
    "TextRoute",
    "TokensRoute",
    "inside",
]
