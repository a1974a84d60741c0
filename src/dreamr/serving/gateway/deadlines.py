"""Deadlines of requests: the shortest of body, header, key, pair and gateway counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.errors import bad_request, shortened
from dreamr.serving.gateway.keys import Client

HEADERS = ("dreamr-deadline", "x-request-timeout")


def with_deadline(
    parsed: ParsedRequest, headers: Mapping[str, str], client: Client
) -> ParsedRequest:
    """Return a request with its deadline.

    A run whose text must not depend on timing does not verify less: it fails at its deadline.

    Args:
        parsed: The request, with the deadline of its body and the gateway.
        headers: Headers of the request.
        client: Who sent it.

    Raises:
        ApiError: If a header has no number of seconds (400).
    """
    given = [_seconds(name, headers[name]) for name in HEADERS if name in headers]
    options = parsed.options
    given += [one for one in (client.deadline, options.deadline) if one is not None]
    seconds = min(parsed.deadline, *given, math.inf)
    if options.deterministic:
        options = replace(options, on_deadline="error")
    return replace(parsed, deadline=seconds, options=options)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise bad_request(
            f"the header {name} must be a number of seconds, not {shortened(text)}", name
        )
    return seconds
