"""Judge calls over HTTP: labels, words, and the probabilities of given tokens."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Context
from dreamr.engines.http import HttpEngine
from dreamr.errors import EngineError, Unsupported
from dreamr.gate import CascadeGate, Evidence, LikelihoodGate, Query, StepContext, TolerantGate
from dreamr.steps import Ending, Step
from support.scoring import Scoring
from support.served import Served
from support.served_calls import TALK, use

STEPS = ("Two and two.\n\n", "That is 5.\n\n")
LIKELY = LikelihoodGate().query


def judge(served: Served, query: Query, steps: tuple[str, ...] = STEPS) -> tuple[Evidence, ...]:
    async def work(engine: HttpEngine) -> tuple[Evidence, ...]:
        served.requests.clear()
        return await engine.judge(Context(TALK, ("One.\n\n",)), steps, query)

    return use(served, work)


def sure_but_of_five(text: str) -> float:
    return 0.1 if text.startswith("5") else 0.9


def test_the_margins_of_all_steps_come_from_one_request() -> None:
    served = Scoring(given=sure_but_of_five)
    right, wrong = judge(served, LIKELY)
    [body] = served.chats
    assert body["messages"][-1]["content"] == "One.\n\n" + "".join(STEPS)
    assert (right.tokens, right.matched_tokens) == (3, 3)
    assert right.mean_margin == pytest.approx(0.9)
    assert right.surest_mismatch == 0.0
    assert (wrong.tokens, wrong.matched_tokens) == (3, 2)
    assert wrong.min_margin == pytest.approx(0.1)
    assert wrong.mean_margin == pytest.approx((0.9 * 0.9 * 0.1) ** (1 / 3))
    assert wrong.surest_mismatch == pytest.approx(0.9)


@pytest.mark.parametrize("gate", [LikelihoodGate(0.8), TolerantGate(0.5)])
def test_gates_without_a_question_decide_by_the_margins(gate: Any) -> None:
    found = judge(Scoring(given=sure_but_of_five), gate.query)
    contexts = [StepContext(Step(text, 3, Ending.DELIMITER), 1) for text in STEPS]
    verdicts = [gate.decide(one, at) for one, at in zip(found, contexts, strict=True)]
    assert [verdict.accepted for verdict in verdicts] == [True, False]


def test_a_cascade_asks_only_about_steps_in_doubt() -> None:
    served = Scoring(given=sure_but_of_five)
    sure, unsure = judge(served, CascadeGate(target_confidence=0.3).query)
    assert len([body for body in served.chats if body.get("logprobs")]) == 1
    assert not sure.asked
    assert (unsure.ratio, unsure.min_margin) == (pytest.approx(0.9), pytest.approx(0.1))


def test_a_cascade_asks_about_every_step_behind_a_long_prompt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = Scoring(given=sure_but_of_five)
    query = CascadeGate(target_confidence=0.3).query

    async def work(engine: HttpEngine) -> None:
        served.requests.clear()
        talk = Conversation.from_prompt("word " * 1100)
        found = await engine.judge(Context(talk), STEPS, query)
        await engine.judge(Context(talk), STEPS, query)
        assert all(one.asked and one.min_margin is None for one in found)
        [likely, _] = await engine.judge(Context(talk), STEPS, LIKELY)
        assert likely.mean_margin == pytest.approx(0.9)  # nothing else could decide

    with caplog.at_level(logging.WARNING):
        use(served, work)
    assert [record.message for record in caplog.records] == [
        "tiny at http://here/v1 reads the whole prompt again for the probabilities of given "
        "tokens: prompts above 1,024 tokens are decided by the ratio"
    ]
    assert len([body for body in served.chats if "prompt_logprobs" in body]) == 1


@pytest.mark.parametrize("owner", ["vllm", "sglang", "llamacpp", "library", "somebody"])
def test_a_server_that_ignores_the_field_has_no_margins(owner: str) -> None:
    async def work(engine: HttpEngine) -> None:
        assert not engine.capabilities.margins
        with pytest.raises(Unsupported, match="does not report the probabilities of given tokens"):
            await engine.judge(Context(TALK), STEPS, LIKELY)

    use(Scoring(owner), work)


def test_tokens_that_do_not_spell_the_steps_are_an_error() -> None:
    class Straying(Scoring):
        def _scored(self, text: str, *, others: bool = True) -> dict[str, Any]:
            found = super()._scored(text, others=others)
            strays = self.requests[-1][1]["messages"][-1]["content"].startswith("One.")
            for entry in found.values():
                entry["decoded_token"] = "stray" if strays else entry["decoded_token"]
            return found

    with pytest.raises(EngineError, match="do not spell the drafted steps"):
        judge(Straying(given=sure_but_of_five), LIKELY)


def test_exactly_the_labels_tokens_are_asked_for() -> None:
    """One of the labels is far below the most likely tokens."""
    served = Scoring(labels={"else": 0.4, "positive": 0.3, "negative": 0.1})
    [found] = judge(served, Query(), STEPS[:1])
    [body] = served.chats
    assert "top_logprobs" not in body
    asked = {served._words[i] for i in body["logprob_token_ids"]}
    assert {"positive", "Positive", "NEGATIVE"} <= asked
    assert (found.positive, found.negative) == (pytest.approx(0.3), pytest.approx(0.1))


@pytest.mark.parametrize("chosen", [500, 400, False])
def test_the_most_likely_tokens_are_asked_for_where_chosen_ones_are_refused(chosen: Any) -> None:
    served = Scoring(chosen=chosen)
    [found] = judge(served, Query(), STEPS[:1])
    [body] = served.chats
    assert body["top_logprobs"] == 20
    assert found.ratio == pytest.approx(0.9)


@pytest.mark.parametrize(("kind", "prompt"), [("verdict", "Judge"), ("score", "Judge 9")])
def test_a_family_is_asked_the_prompts_that_it_was_trained_on(kind: Any, prompt: str) -> None:
    served = Served(models=("/srv/dreamr_testbed/pair/target",))
    judge(served, Query(kind), STEPS[:1])
    assert served.chats[0]["messages"][-1]["content"] == prompt


@pytest.mark.parametrize(("top", "known"), [("positive", True), ("Sure", False)])
def test_evidence_tells_whether_the_likeliest_token_is_a_label(top: str, known: bool) -> None:
    served = Served(labels={top: 0.8, "negative": 0.1})
    [found] = judge(served, Query(), STEPS[:1])
    assert found.top_label is known


@pytest.mark.parametrize(
    ("answer", "shares", "known"),
    [
        ("positive", (1.0, 0.0), True),
        (" Negative.", (0.0, 1.0), True),
        ('**"Positive"**', (1.0, 0.0), True),
        ("positivepositive", (1.0, 0.0), True),
        ("The step", (0.0, 0.0), False),
        ("Negatively", (0.0, 0.0), False),
        ("", (0.0, 0.0), False),
    ],
)
def test_a_verdict_in_words_needs_no_log_probabilities(
    answer: str, shares: tuple[float, float], known: bool
) -> None:
    served = Scoring("library", labels={"positive": 1.0}, answer=answer)

    async def work(engine: HttpEngine) -> tuple[Evidence, ...]:
        able = engine.capabilities
        assert (able.judge, able.words, able.kind) == (False, True, "Ollama")
        return await engine.judge(Context(TALK), STEPS[:1], Query("word"))

    [found] = use(served, work)
    assert "logprobs" not in served.chats[-1]
    assert ((found.positive, found.negative), found.top_label) == (shares, known)
    assert found.answer == answer.strip()


def test_a_server_needs_more_label_mass_than_a_local_model() -> None:
    async def work(engine: HttpEngine) -> float:
        return engine.capabilities.min_label_mass

    assert use(Served(), work) == 0.5
