"""How much a model thinks, in the words of several APIs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamr.serving.gateway.errors import bad_request, shortened

NO_THINKING = 0  # thinking budget of a run that does not think
# Tokens of thoughts; None: as the server is set.
_BUDGETS: Mapping[str, int | None] = {
    "none": NO_THINKING, "minimal": 256, "low": 1024, "medium": 4096, "high": None, "xhigh": None,
    "max": None,
}  # fmt: skip
_SWITCHES = ("enable_thinking", "thinking")  # variables of chat templates


def budget_of_effort(effort: str | None, param: str = "reasoning_effort") -> int | None:
    """Return the thinking budget of a reasoning effort; None for that of the server.

    Args:
        effort: Value of the field.
        param: Name of the field.

    Raises:
        ApiError: If the effort is unknown (400).
    """
    if effort is None:
        return None
    if effort not in _BUDGETS:
        raise bad_request(
            f"{param} {shortened(effort)} is not supported: use {', '.join(_BUDGETS)}", param
        )
    return _BUDGETS[effort]


def switched_off(template_kwargs: Mapping[str, Any] | None) -> bool:
    """Return whether variables of the chat template switch thinking off."""
    given = template_kwargs or {}
    return any(given.get(name) is False for name in _SWITCHES)


def unread(template_kwargs: Mapping[str, Any] | None) -> set[str]:
    """Return the variables of the chat template that have no effect."""
    return set(template_kwargs or ()) - set(_SWITCHES)
