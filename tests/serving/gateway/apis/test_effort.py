from __future__ import annotations

import json

import pytest

from dreamr import RunOptions
from dreamr.serving.gateway.apis.effort import budget_of_effort, switched_off, unread
from dreamr.serving.gateway.apis.messages.request import read_request
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions
from support.gateways import Gateway, use

ASKED = [{"role": "user", "content": "Well?"}]


@pytest.mark.parametrize(
    ("effort", "budget"),
    [(None, None), ("none", 0), ("minimal", 256), ("medium", 4096), ("max", None)],
)
def test_an_effort_is_a_budget_of_tokens(effort: str | None, budget: int | None) -> None:
    assert budget_of_effort(effort) == budget


def test_an_unknown_effort_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ApiError, match="use none, minimal, low") as found:
        budget_of_effort("extreme", "output_config.effort")
    assert found.value.param == "output_config.effort"


def test_only_false_switches_thinking_off() -> None:
    assert switched_off({"enable_thinking": False})
    assert switched_off({"thinking": False})
    assert not switched_off({"enable_thinking": True})
    assert not switched_off(None)
    assert unread({"enable_thinking": False, "add_vision_id": True}) == {"add_vision_id"}


@pytest.mark.parametrize(
    ("thinking", "budget"),
    [
        (None, 1024),
        ({"type": "adaptive"}, 1024),
        ({"type": "enabled", "budget_tokens": 1500}, 1500),
        ({"type": "disabled"}, 0),
    ],
)
def test_an_effort_of_anthropic_gives_way_to_a_budget_and_to_a_switch(
    thinking: dict[str, object] | None, budget: int
) -> None:
    body = {
        "model": "dreamr",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Well?"}],
        "output_config": {"effort": "low"},
        "thinking": thinking,
    }
    sender = Sender("me", lambda model: RunOptions(), ServeOptions())
    parsed = read_request(json.dumps(body).encode(), sender)
    assert parsed.options.thinking_budget == budget


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("chat", {"reasoning_effort": "medium", "max_tokens": 9, "messages": ASKED}),
        ("responses", {"reasoning": {"effort": "medium"}, "max_output_tokens": 9, "input": "Hi"}),
        ("messages", {"output_config": {"effort": "medium"}, "max_tokens": 9, "messages": ASKED}),
    ],
)
def test_an_effort_leaves_room_for_the_answer(path: str, fields: dict[str, object]) -> None:
    async def work(gate: Gateway) -> int:
        place = {"chat": "/v1/chat/completions"}.get(path, f"/v1/{path}")
        return (await gate.ask({"model": "dreamr", **fields}, place)).status

    assert use(work) == 200


def test_a_budget_of_no_tokens_is_not_replaced_by_an_effort() -> None:
    body = {
        "model": "dreamr",
        "max_tokens": 2000,
        "messages": ASKED,
        "output_config": {"effort": "low"},
        "dreamr": {"thinking_budget": 0},
    }
    sender = Sender("me", lambda model: RunOptions(), ServeOptions())
    assert read_request(json.dumps(body).encode(), sender).options.thinking_budget == 0
