"""Judge calls as a server gets them: prompts, labels, and servers that cannot judge."""

from __future__ import annotations

from typing import Any

import pytest

from dreamr.engines import Context
from dreamr.engines.http import HttpEngine
from dreamr.errors import Unsupported
from dreamr.gate import Evidence, Query
from dreamr.runner import run
from support.served import FORGETFUL, Served
from support.served_calls import SCRIPT, TALK, use


def judge(
    served: Served, *candidates: str, query: Query | None = None, **options: Any
) -> tuple[Evidence, ...]:
    async def work(engine: HttpEngine) -> tuple[Evidence, ...]:
        return await engine.judge(Context(TALK, ("One.\n\n",)), candidates, query or Query())

    return use(served, work, **options)


def test_each_step_is_judged_after_those_before_it_by_one_token() -> None:
    served = Served(labels={"positive": 0.6, " Positive": 0.1, "pos": 0.1, "negative": 0.2})
    found = judge(served, "Two.\n\n", "Three.\n\n", judge_prompt="Right?")
    assert [(round(e.positive, 6), round(e.negative, 6)) for e in found] == [(0.8, 0.2)] * 2
    asked = sorted(served.chats[-2:], key=lambda body: len(str(body)))
    assert [body["messages"][1]["content"] for body in asked] == [
        "One.\n\nTwo.\n\n",
        "One.\n\nTwo.\n\nThree.\n\n",
    ]
    assert {body["messages"][2]["content"] for body in asked} == {"Right?"}
    assert {body["max_tokens"] for body in asked} == {1}


def test_a_step_without_judge_prompt_costs_no_request() -> None:
    served = Served()
    found = judge(served, "Two.\n\n", "Answer: 4", query=Query(unasked="Answer:"))
    assert found[1] == Evidence(0.0, 0.0)
    asked = [body for body in served.chats if body.get("logprobs")]
    assert len(asked) == 3  # the probe's two and one


def test_queries_of_other_methods_have_their_own_prompts() -> None:
    served = Served(labels={"8": 0.5, "9": 0.25})
    [found] = judge(served, "Two.\n\n", query=Query("score"))
    assert found.scores[8:] == (0.5, 0.25)
    served = Served()
    judge(served, "Two.\n\n", query=Query("same", others=("Zwei.",)))
    assert "Zwei." in served.chats[-1]["messages"][-1]["content"]
    with pytest.raises(Unsupported, match="token-sd"):
        judge(Served(), "Two.\n\n", query=Query("agreement"))


def test_a_server_without_log_probabilities_cannot_judge() -> None:
    served = Served(labels={"positive": 1.0})

    async def work(engine: HttpEngine) -> bool:
        return engine.capabilities.judge

    assert not use(served, work)


@pytest.mark.parametrize("shows", [True, False])
def test_a_template_that_drops_earlier_turns_is_asked_inside_the_assistants(shows: bool) -> None:
    served = Served(script=SCRIPT, template=FORGETFUL, shows=shows)
    judge(served, "Two.\n\n", judge_prompt="Right?")
    last = served.chats[-1]["messages"][-1]
    assert last["role"] == "assistant"
    assert last["content"].startswith("One.\n\nTwo.")
    assert "Right?" in last["content"]


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"positive": 1.0}, "log-probability 0 for every token, as llama.cpp does with --spec-ty"),
        ({"positive": 0.9}, "no log-probabilities of other tokens"),
    ],
)
def test_a_target_that_cannot_judge_is_refused_with_the_reason(labels: Any, why: str) -> None:
    async def work(engine: HttpEngine) -> None:
        await run(TALK, target=engine, draft=engine)

    with pytest.raises(Unsupported, match=rf"does not report \(.*{why}.*use --gate word"):
        use(Served(labels=labels), work)
