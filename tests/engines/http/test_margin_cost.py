"""Margins over HTTP are read where measured times say that they pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from dreamr import RunOptions
from dreamr.conversation import Conversation
from dreamr.engines import Context, ScriptedEngine
from dreamr.engines.http import HttpEngine
from dreamr.engines.http.margin_cost import MarginCost
from dreamr.gate import VERDICT, AdaptiveGate, CascadeGate, Evidence, LikelihoodGate, Query
from dreamr.runner import run
from support.scoring import Scoring
from support.served_calls import TALK, use

STEP = "Two and two.\n\n"
DOUBT = "That is 5.\n\n"
LONG = Conversation.from_prompt("word " * 1100)
CASCADE = replace(CascadeGate().query, measured=True)
ADAPTIVE = replace(AdaptiveGate().query, measured=True)


def unsure_of_five(text: str) -> float:
    return 0.1 if text.startswith("5") else 0.9


class Timed(Scoring):
    """A server on whose clock only margins and questions take time.

    Attributes:
        now: Seconds.
        reading: Seconds of a request for margins.
        asking: Seconds of a question.
    """

    now = 0.0
    reading = 1.0
    asking = 1.0

    def _answer(self, body: dict[str, Any]) -> Any:
        if "prompt_logprobs" in body:
            self.now += self.reading
        elif "logprob_token_ids" in body:
            self.now += self.asking
        return super()._answer(body)


def asked(
    reading: float, steps: tuple[str, ...], query: Query, about: Conversation = TALK
) -> list[str]:
    """Return what each of the steps is judged by, one after the other."""
    served = Timed(given=unsure_of_five)
    served.reading = reading

    async def work(engine: HttpEngine) -> list[str]:
        found = []
        for step in steps:
            served.requests.clear()
            await engine.judge(Context(about), [step], query)
            fields = [field for body in served.chats for field in body]
            kinds = {"margins": "prompt_logprobs", "question": "logprob_token_ids"}
            found.append("+".join(name for name, field in kinds.items() if field in fields))
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(anyio, "current_time", lambda: served.now)
        return use(served, work)


@pytest.mark.parametrize("about", [TALK, LONG])
def test_margins_and_a_question_are_measured_once_and_the_cheaper_decides(
    about: Conversation,
) -> None:
    steps = (STEP,) * 5
    first = ["margins", "question"]
    assert asked(0.1, steps, CASCADE, about) == [*first, *["margins"] * 3]
    assert asked(2.0, steps, CASCADE, about) == [*first, *["question"] * 3]


def test_margins_that_spare_no_question_do_not_pay() -> None:
    found = asked(0.6, (DOUBT,) * 6, CASCADE)
    assert found[:2] == ["margins+question"] * 2
    assert found[-1] == "question"


def test_margins_that_a_gate_decides_by_are_read_whatever_they_take() -> None:
    assert asked(100.0, (STEP,) * 4, ADAPTIVE) == ["margins+question"] * 4
    assert asked(100.0, (STEP,), ADAPTIVE, LONG) == ["question"]


def test_a_gate_with_nothing_else_to_decide_by_always_reads_margins() -> None:
    likelihood = replace(LikelihoodGate().query, measured=True)
    assert asked(100.0, (STEP,) * 4, likelihood) == ["margins"] * 4


def test_what_did_not_pay_is_tried_again() -> None:
    cost = MarginCost()
    cost.note_margins(20.0, 10)
    cost.note_questions(1.0)
    assert not cost.pays(10, CASCADE)
    assert any(cost.pays(10, CASCADE) for _ in range(1000))


@pytest.mark.parametrize(
    ("deterministic", "calibrated", "measured"),
    [(False, False, True), (True, False, False), (False, True, False)],
)
def test_times_decide_unless_a_run_is_deterministic_or_its_gate_calibrated(
    deterministic: bool, calibrated: bool, measured: bool
) -> None:
    queries = []

    class Asked(ScriptedEngine):
        async def judge(
            self, context: Context, candidates: Sequence[str], query: Query = VERDICT
        ) -> tuple[Evidence, ...]:
            queries.append(query)
            return await super().judge(context, candidates, query)

    options = RunOptions(gate="cascade", deterministic=deterministic)
    script = "So it is.\n\nAnswer: 4"
    engines = {"target": Asked(script=script), "draft": ScriptedEngine(script=script)}

    config = replace(options.run_config(), calibrated=calibrated)

    async def work() -> None:
        await run(TALK, **engines, config=config)

    anyio.run(work)
    assert {query.measured for query in queries} == {measured}
