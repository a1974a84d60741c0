"""Thoughts that reach a limit are closed, and one model answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.schedules import (
    METHODS,
    CloseLane,
    Commit,
    Discard,
    Finished,
    Judge,
    LaneFailed,
    OpenLane,
    Reject,
    ScheduleConfig,
    StepDone,
    TextLimits,
    Warn,
    by_name,
)
from dreamr.steps import Ending, Step
from support.adversary import Adversary
from support.fpsr_talk import ANSWER, C1, NO, OWN, YES, A, B, Talk, step
from support.worlds import Pace, World

CLOSING = step("</think>\n\n").text
SIX = TextLimits(thinking_budget=6, opens_thought=True)
REPEATED = step("So the ball has to be in the middle.\n\n")


def spent(**options: Any) -> Talk:
    """Return a run that has committed A and B, which spend the budget, while C waits."""
    talk = Talk(**{"text": SIX, **options})
    for drafted in (A, B, C1):
        talk.writes("draft", drafted)
    talk.judges(YES, YES)
    return talk


def test_a_spent_budget_closes_the_thought_and_the_target_answers() -> None:
    talk = spent()
    assert talk.all(Commit)[-1] == Commit(2, Step(CLOSING, 0, Ending.DELIMITER), "target")
    opened = talk.only(OpenLane)
    assert (opened.role, opened.prefix) == ("target", (A.text, B.text, CLOSING))
    assert talk.only(Warn).message == (
        "the thinking budget of 6 tokens is spent, after 6: the thought is closed, and the target "
        "answers"
    )
    assert not talk.all(Judge)
    assert not talk.all(Finished)
    talk.writes("target", ANSWER, "stop")
    assert talk.only(Finished).finish == "answer"


def test_lanes_are_closed_and_undecided_steps_are_discarded() -> None:
    talk = Talk(text=SIX)
    for drafted in (A, B, C1):
        talk.writes("draft", drafted)
    lanes = set(talk.lanes.values())
    talk.judges(YES, YES)
    assert {closed.lane for closed in talk.all(CloseLane)} >= lanes
    assert talk.only(Discard) == Discard(2, C1, "draft", "the thought was closed")


def test_signals_of_closed_lanes_are_ignored() -> None:
    talk = Talk(text=SIX)
    old = dict(talk.lanes)
    for drafted in (A, B):
        talk.writes("draft", drafted)
    talk.judges(YES, YES)
    assert talk.tell(StepDone(old["draft"], C1)) == []
    assert talk.tell(StepDone(old["target"], OWN)) == []


def test_the_answer_has_the_tokens_that_are_left() -> None:
    assert spent(max_tokens=20).only(OpenLane).max_tokens == 14


def test_the_answer_needs_no_second_budget() -> None:
    talk = spent(max_tokens=30)
    for _ in range(3):
        talk.writes("target", step("<think>more\n\n"))
        assert [type(said) for said in talk.said] == [Commit]


def test_a_target_that_is_lost_while_it_answers_ends_the_run() -> None:
    talk = spent()
    talk.tell(LaneFailed(talk.lanes["target"], "gone", lost=True))
    assert talk.only(Finished) == Finished("failed", "gone")


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (TextLimits(thinking_budget=6), "plain\n\n"),
        (TextLimits(opens_thought=True), "thought\n\n"),
        (TextLimits(thinking_budget=99, opens_thought=True), "thought\n\n"),
    ],
)
def test_without_an_open_thought_or_a_spent_budget_the_run_goes_on(
    limits: TextLimits, text: str
) -> None:
    talk = Talk(text=limits)
    for number in range(4):
        talk.writes("draft", step(f"{number} {text}"))
        talk.judges(YES)
        assert not talk.all(Warn)
        assert not talk.all(Finished)


def test_only_tokens_of_thoughts_count() -> None:
    talk = Talk(text=TextLimits(thinking_budget=6))
    for text in ("one\n\n", "two\n\n", "<think>three\n\n"):
        talk.writes("draft", step(text))
        talk.judges(YES)
        assert not talk.all(Warn)
    talk.writes("draft", step("four\n\n"))
    talk.judges(YES)
    assert talk.only(Warn)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>")],
)
def test_the_tag_that_closes_belongs_to_the_one_that_opened(opening: str, closing: str) -> None:
    talk = Talk(text=TextLimits(thinking_budget=1))
    talk.writes("draft", step(f"{opening}one"))
    talk.judges(YES)
    assert talk.all(Commit)[-1].step.text == f"\n\n{closing}\n\n"


def test_the_family_may_have_a_text_of_its_own() -> None:
    talk = Talk(text=TextLimits(1, True, "Time is up.\n</think>\n\n"))
    talk.writes("draft", step("Let me see."))
    talk.judges(YES)
    assert talk.all(Commit)[-1].step.text == "\n\nTime is up.\n</think>\n\n"


def test_without_a_step_left_for_the_answer_the_run_ends() -> None:
    talk = spent(max_steps=3)
    assert talk.only(Finished) == Finished("length")
    assert talk.only(Warn).message.endswith("is spent, after 6: the run ends")


def repeats(talk: Talk, times: int) -> None:
    """Let the target write the same step several times; the draft is rejected."""
    for _ in range(times):
        talk.writes("draft", A)
        talk.judges(NO)
        talk.writes("target", REPEATED)


def test_a_loop_closes_a_thought() -> None:
    talk = Talk(text=TextLimits(opens_thought=True))
    repeats(talk, 2)
    assert not talk.all(Warn)
    repeats(talk, 1)
    assert talk.only(Warn).message == (
        "the text repeats itself: the thought is closed, and the target answers"
    )
    assert talk.only(OpenLane).prefix == (*[REPEATED.text] * 3, CLOSING)


def test_a_loop_outside_a_thought_ends_the_run_after_more_repetitions() -> None:
    talk = Talk(text=TextLimits())
    repeats(talk, 8)
    assert not talk.all(Finished)
    repeats(talk, 1)
    assert talk.only(Finished) == Finished("length")
    assert talk.only(Warn).message == "the text repeats itself: the run ends"


def test_an_answer_that_loops_in_another_thought_ends_the_run() -> None:
    talk = Talk(text=TextLimits(opens_thought=True))
    repeats(talk, 3)
    talk.writes("target", step("<think>Again.\n\n"))
    for _ in range(3):
        talk.writes("target", REPEATED)
    assert talk.only(Finished).finish == "length"
    assert talk.only(Warn).message == "the text repeats itself: the run ends"


def test_without_limits_the_texts_mean_nothing() -> None:
    talk = Talk()
    repeats(talk, 20)
    assert not talk.all(Finished)


# Drafted steps that are rejected before they are judged

REFUSED = NO


def test_a_refused_step_is_rejected_in_its_turn_and_needs_no_judge_call() -> None:
    talk = Talk()
    assert talk.writes("draft", A) == [Judge(0, (), (A,))]
    said = talk.writes("draft", B, verdict=REFUSED)
    assert said == [CloseLane(0)]  # no step after it can be committed
    talk.judges(YES)
    assert talk.only(Reject) == Reject(1, B, REFUSED)


def test_a_refused_step_at_the_frontier_is_rejected_at_once() -> None:
    talk = Talk()
    talk.writes("draft", A, verdict=REFUSED)
    assert talk.only(Reject) == Reject(0, A, REFUSED)
    assert not talk.all(Judge)


def test_a_refused_candidate_is_discarded() -> None:
    talk = Talk(resamples=1)
    talk.writes("draft", A)
    talk.judges(NO)
    talk.writes("draft", B, verdict=REFUSED)
    assert talk.only(Discard) == Discard(0, B, "draft", REFUSED.reason)
    assert not talk.all(Judge)


def test_parse_judges_the_steps_before_a_refused_one() -> None:
    schedule = by_name("parse", ScheduleConfig())
    schedule.start()
    schedule.handle(StepDone(0, A))
    said = schedule.handle(StepDone(0, B, verdict=REFUSED))
    assert [one for one in said if isinstance(one, Judge)] == [Judge(0, (), (A, B))]
    schedule = by_name("parse", ScheduleConfig())
    schedule.start()
    said = schedule.handle(StepDone(0, A, verdict=REFUSED))
    assert Reject(0, A, REFUSED) in said
    assert not any(isinstance(one, Judge) for one in said)


# Any run


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([name for name in METHODS if name != "token-sd"]),
    st.integers(0, 2**32),
    st.integers(1, 30),
    st.sampled_from(["window", "step"]),
    st.booleans(),
    st.integers(1, 12),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.2]),
)
def test_invariants_hold_when_a_thought_is_closed(
    method: str,
    seed: int,
    budget: int,
    judge_batch: Any,
    independent: bool,
    max_steps: int,
    max_tokens: int,
    failures: float,
) -> None:
    options = ScheduleConfig(
        window=3,
        fallback="eager",
        judge_batch=judge_batch,
        independent=independent,
        resamples=1,
        max_steps=max_steps,
        max_tokens=max_tokens,
        text=TextLimits(budget, opens_thought=True),
    )
    world = World(seed, odd_drafts=0.1, odd_steps=0.05)
    outcome = Adversary(method, world, options, Pace(1.0, 1.0, 1.0), seed, failures).run()
    places = [c.position for c in outcome.commits if c.step.tokens == 0]
    assert len(places) <= 1
    for place in places:
        thought = sum(commit.step.tokens for commit in outcome.commits[:place])
        assert thought >= budget > thought - outcome.commits[place - 1].step.tokens
        answers = "draft" if method == "draft" else "target"
        assert {commit.source for commit in outcome.commits[place:]} == {answers}
