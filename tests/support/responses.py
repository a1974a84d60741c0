"""Requests to /v1/responses, read or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.apis.responses import StoredResponse
from dreamr.serving.gateway.apis.responses.request import read_request
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions
from support.gateways import QUESTION, Json

ASKED: Json = {"model": "dreamr", "input": QUESTION}


def read(earlier: StoredResponse | None = None, **more: Any) -> ParsedRequest:
    sender = Sender("alice", lambda model: RunOptions(), ServeOptions(), earlier)
    body = json.dumps({**ASKED, **more}).encode()
    return read_request(body, sender)


def refused(**more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(**more)
    return caught.value
