"""The methods of other papers behave as described there, over scripted engines."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Capabilities, Context, Engine, ScriptedEngine
from dreamr.engines.scripted import words
from dreamr.errors import Unsupported
from dreamr.gate import AgreementGate, CascadeGate, Gate, RatioGate, SameGate, ScoreGate
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import JudgeStarted, LaneOpened, Result, StepDiscarded, StepRejected
from support.runs import notes

TALK = Conversation((Turn("user", (Text("What do tea and milk cost?"),)),))
OWN = ["Tea costs 2.\n\n", "Milk costs 1.\n\n", "Two and one is three.\n\n", "Answer: 3"]
DRAFT = ["tea  costs 2.\n\n", "Milk is 1.\n\n", "That is 4.\n\n", "Answer: 4"]
GATES: dict[str, Gate] = {
    "lookahead": SameGate(),
    "specreason": ScoreGate(7),
    "token-sd": AgreementGate(),
}


def go(
    method: str,
    target: Engine | None,
    draft: Engine | None = None,
    gate: Gate | None = None,
    **options: Any,
) -> Result:
    gate = gate or GATES.get(method, RatioGate())
    chosen = RunConfig(
        method=method, gate=gate, options=ScheduleConfig(deterministic=True, **options)
    )

    async def main() -> Result:
        with anyio.fail_after(20):
            return await run(TALK, target=target, draft=draft, config=chosen)

    return anyio.run(main)


def texts(result: Result) -> list[str]:
    return [committed.step.text for committed in result.steps]


def of_kind(result: Result, kind: type) -> list[Any]:
    return [event for event in result.events if isinstance(event, kind)]


class Comparing(ScriptedEngine):
    """Compares steps by its opinion, and keeps the queries."""

    async def judge(self, context, candidates, query=None):  # type: ignore[no-untyped-def]
        self.asked = [*getattr(self, "asked", []), (tuple(candidates), query)]
        return await super().judge(context, candidates, query)


def test_lookahead_commits_equivalent_drafted_steps_and_else_the_targets() -> None:
    big = Comparing(script=OWN, opinion={DRAFT[1]: 0.6})
    result = go("lookahead", big, ScriptedEngine(script=DRAFT), window=4)
    assert texts(result) == [*DRAFT[:2], *OWN[2:]]
    assert [s.source for s in result.steps] == ["draft", "draft", "target", "target"]
    (rejected,) = of_kind(result, StepRejected)
    assert rejected.step.text == DRAFT[2]


def test_lookahead_judges_pairs_only_if_their_texts_differ() -> None:
    big = Comparing(script=OWN, opinion=1.0)
    result = go("lookahead", big, ScriptedEngine(script=DRAFT[:2]), window=4)
    assert texts(result)[:2] == DRAFT[:2]
    for candidates, query in big.asked:
        assert query.kind == "same"
        assert DRAFT[0] not in candidates
        assert query.others == tuple(OWN[DRAFT.index(step)] for step in candidates)


def test_lookahead_writes_target_steps_after_undecided_drafted_steps() -> None:
    big = ScriptedEngine(script=OWN, opinion=1.0, token_seconds=0.002)
    result = go("lookahead", big, ScriptedEngine(script=DRAFT), window=3)
    opened = [e.position for e in of_kind(result, LaneOpened) if e.role == "target"]
    first = next(e.time for e in of_kind(result, JudgeStarted))
    early = [e for e in of_kind(result, LaneOpened) if e.role == "target" and e.time < first]
    assert {e.position for e in early} >= {0, 1, 2}
    assert sorted(opened) == [0, 1, 2, 3]


def test_lookahead_never_compares_an_answer() -> None:
    big = ScriptedEngine(script=OWN, opinion=1.0)
    result = go("lookahead", big, ScriptedEngine(script=[DRAFT[0], "Answer: 4"]), window=4)
    assert result.answer == "3"
    assert "Answer: 4" in [e.step.text for e in of_kind(result, StepDiscarded)]


def test_parse_judges_the_whole_draft_and_commits_its_longest_valid_prefix() -> None:
    big = ScriptedEngine(script=OWN, opinion={DRAFT[0]: 0.9, DRAFT[1]: 0.9})
    result = go("parse", big, ScriptedEngine(script=DRAFT), window=1)
    assert texts(result) == [*DRAFT[:2], *OWN[2:]]
    assert of_kind(result, JudgeStarted)[0].positions == (0, 1, 2, 3)
    # After the fallback the draft has its answer left, which decides nothing.
    assert big.judgments == 1


def test_parse_accepts_a_whole_draft_with_a_judged_answer() -> None:
    big = ScriptedEngine(script=OWN, opinion=0.9)
    result = go("parse", big, ScriptedEngine(script=DRAFT), final_answer="draft")
    assert texts(result) == DRAFT
    assert big.streams == 0


def test_specreason_commits_highly_rated_steps() -> None:
    big = Comparing(script=OWN, opinion={DRAFT[0]: 0.9, DRAFT[1]: 0.7})
    result = go("specreason", big, ScriptedEngine(script=DRAFT))
    assert texts(result) == [DRAFT[0], *OWN[1:]]
    assert {query.kind for _, query in big.asked} == {"score"}
    assert of_kind(result, StepRejected)[0].verdict.reason == "score 6.0 below 7"


def test_the_draft_alone_needs_no_target() -> None:
    result = go("draft", None, ScriptedEngine(script=DRAFT))
    assert texts(result) == DRAFT
    assert {step.source for step in result.steps} == {"draft"}
    assert result.usage.draft.accepted == result.usage.draft.written


def test_a_missing_model_is_named() -> None:
    with pytest.raises(Unsupported, match="'lookahead' needs a draft model"):
        go("lookahead", ScriptedEngine(script=OWN))
    with pytest.raises(Unsupported, match="'target' needs a target model"):
        go("target", None, ScriptedEngine(script=DRAFT))


def prone_to_err(text: str, seed: int, share: float) -> ScriptedEngine:
    """A draft that writes a given text with some words changed."""

    def goes_on(context: Context) -> str:
        done = "".join(context.prefix)
        assert text.startswith(done), "what is committed is not the target's text"
        words = text[len(done) :].split(" ")
        luck = Random(f"{seed} {done}")
        return " ".join("wrong" if luck.random() < share else word for word in words)

    return ScriptedEngine(script=goes_on)


WORDS = st.lists(st.sampled_from(["tea", "milk", "2.", "so", "3,"]), min_size=1, max_size=12)
STEPS = st.lists(WORDS.map(" ".join), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 1000), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.booleans())
def test_token_speculation_writes_what_the_target_alone_writes(
    steps: list[str], seed: int, share: float, blanks: bool
) -> None:
    text = "\n\n".join([*steps, "Answer: 3"])
    text = f"\n\n{text}" if blanks else text  # pieces of white space alone
    alone = go("target", ScriptedEngine(script=text))
    big = ScriptedEngine(script=text)
    result = go("token-sd", big, prone_to_err(text, seed, share))
    assert "".join(texts(result)) == "".join(texts(alone)) == text
    assert result.answer == alone.answer == "3"
    assert big.written == sum(step.step.tokens for step in result.steps)


def test_a_guess_grows_after_a_right_one_and_shrinks_after_a_wrong_one() -> None:
    text = " ".join(f"w{number}" for number in range(60))
    right = go("token-sd", ScriptedEngine(script=text), prone_to_err(text, 0, 0.0))
    wrong = go("token-sd", ScriptedEngine(script=text), prone_to_err(text, 0, 1.0))
    assert len(of_kind(right, JudgeStarted)) < 8  # 6 + 8 + 10 + 12 + 14 tokens ...
    assert len(of_kind(wrong, JudgeStarted)) >= 59


@pytest.mark.parametrize("limit", [1, 7])
def test_token_speculation_respects_the_token_limit(limit: int) -> None:
    text = "one two three four five six seven eight nine"
    small = prone_to_err(text, 0, 0.0)
    result = go("token-sd", ScriptedEngine(script=text), small, max_tokens=limit)
    assert sum(step.step.tokens for step in result.steps) == limit
    assert result.finish == "length"


def test_a_token_that_ends_a_step_and_begins_another_does_not_stop_token_sd() -> None:
    text = "Tea is 2.\n\n\nMilk is 1.\n\n\nAnswer: 3"  # three ends of lines are one token here
    for draft in (text, "Tea is 4.\n\n\nNo."):
        result = go("token-sd", ScriptedEngine(script=text), ScriptedEngine(script=draft))
        assert result.text == text


def spelled(text: str) -> Iterator[str]:
    """Yield the words of a text; a sign takes three tokens, and only the last one has text."""
    for word in words(text):
        yield from ("", "", word) if "🧮" in word else (word,)


@pytest.mark.parametrize("draft", ["", "I count coins.\n\nNo."])
@pytest.mark.parametrize("text", ["I count 🧮 coins.\n\n🧮 says 3.", "🧮 says 3."])
def test_a_character_of_several_tokens_does_not_stop_token_sd(text: str, draft: str) -> None:
    small = ScriptedEngine(script=draft, tokenize=spelled)
    result = go("token-sd", ScriptedEngine(script=text, tokenize=spelled), small)
    assert (result.text, result.finish) == (text, "stop")
    assert not notes(result)


def test_a_target_without_room_for_a_character_ends_token_sd() -> None:
    big = ScriptedEngine(script="I count 🧮 coins.", tokenize=spelled)
    result = go("token-sd", big, ScriptedEngine(script="I count coins."), max_tokens=4)
    assert result.text.split() == ["I", "count"]
    assert result.finish == "length"


def test_only_the_number_of_tokens_limits_token_sd() -> None:
    text = " ".join(f"w{number}" for number in range(60))
    small = prone_to_err(text, 0, 1.0)
    result = go("token-sd", ScriptedEngine(script=text), small, max_steps=20)
    assert result.text == text
    assert len(result.steps) > 20


@pytest.mark.parametrize("unsure", ["", DRAFT[1]])
def test_parse_judges_no_draft_that_the_gate_decides_without_the_target(unsure: str) -> None:
    small = ScriptedEngine(
        script=DRAFT,
        token_probability=lambda token: 0.1 if token in unsure else 1.0,
        capabilities=Capabilities(logprobs=True),
    )
    big = ScriptedEngine(script=OWN, opinion=dict.fromkeys(DRAFT, 0.9))
    gate = CascadeGate(draft_confidence=0.9)
    result = go("parse", big, small, gate, final_answer="draft")
    assert texts(result) == DRAFT
    assert len(of_kind(result, JudgeStarted)) == (1 if unsure else 0)
