"""Chains are pure functions of a problem's number, and continue any beginning."""

from __future__ import annotations

from dreamr_testbed.emulator import Chain, Chains, load_chains
from dreamr_testbed.emulator.chains import split_tokens
from hypothesis import given
from hypothesis import strategies as st

from dreamr.evaluation.tasks import extract_answer

PROBLEMS = st.integers(0, 1000)


@given(st.text(alphabet=" \nab:."))
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@given(PROBLEMS, st.data())
def test_a_model_continues_what_it_began_wherever_it_is_cut(
    problem: int, data: st.DataObject
) -> None:
    chain = Chain(problem, Chains(acceptance=1.0))
    for role in ("draft", "target"):
        tokens = split_tokens(chain.continuation(role, ""))
        cut = data.draw(st.integers(0, len(tokens)))
        prefix = "".join(tokens[:cut])
        assert split_tokens(chain.continuation(role, prefix)) == tokens[cut:]


@given(PROBLEMS, st.floats(0, 1))
def test_every_step_of_the_target_is_judged_right(problem: int, acceptance: float) -> None:
    chain = Chain(problem, Chains(acceptance))
    text = chain.continuation("target", "")
    steps = text.split("\n\n")
    assert len(steps) == chain.length + 1
    assert all(chain.judge("\n\n".join(steps[: n + 1])) > 0.9 for n in range(len(steps)))
    assert extract_answer(text) == chain.answer


def test_the_draft_is_right_at_the_stated_rate() -> None:
    common = Chains(acceptance=0.7)
    outcomes = []
    for problem in range(200):
        chain = Chain(problem, common)
        steps = chain.continuation("draft", "").split("\n\n")[: chain.length]
        outcomes += [chain.judge("\n\n".join(steps[: n + 1])) > 0.9 for n in range(len(steps))]
    assert 0.67 < sum(outcomes) / len(outcomes) < 0.73


def test_a_wrong_step_makes_the_answer_of_the_draft_wrong() -> None:
    chain = Chain(3, Chains(acceptance=0.0))
    assert extract_answer(chain.continuation("draft", "")) != chain.answer


def test_items_of_the_splits_differ_and_score_their_answers() -> None:
    common = Chains()
    tests, trains = (load_chains(common, 5, 1, split) for split in ("test", "train"))
    assert not set(tests.numbers) & set(trains.numbers)
    chain = common.of(str(tests[0].conversation.turns[0].parts))
    assert tests[0].right(chain.continuation("target", ""))
    assert not tests[0].right("Answer: 1")
