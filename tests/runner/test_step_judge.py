"""Judge calls of gates that ask the draft, or the target more than once."""

from __future__ import annotations

import anyio
import pytest

from dreamr.engines import Capabilities, Failure, ScriptedEngine
from dreamr.errors import EngineError, EngineLost
from dreamr.gate import DraftFirstGate, EntropyGate, Evidence, Gate, TwoQuestionsGate, Verdict
from dreamr.runner.lanes import JudgeCall
from dreamr.runner.step_judge import StepJudge
from dreamr.schedules import ScheduleConfig
from dreamr.steps import Ending, Step
from support.runs import DRAFT, INF, TALK, draft, go, notes, target, texts

STEPS = [Step(f"step {number}\n\n", 2, Ending.DELIMITER) for number in range(5)]


def verdicts(gate: Gate, **engines: ScriptedEngine) -> tuple[Verdict, ...]:
    async def main() -> tuple[Verdict, ...]:
        seen = dict.fromkeys(engines, TALK)
        judge = StepJudge(seen, engines, gate, 60.0, failures.append)  # type: ignore[arg-type]
        return await judge.verdicts(JudgeCall(0, ("before\n\n",), STEPS, gate.query))

    failures: list[Exception] = []

    return anyio.run(main)


class Asked(ScriptedEngine):
    """An engine that notes what it judges."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.calls: list[tuple[tuple[str, ...], tuple[str, ...], str]] = []

    async def judge(self, context, candidates, query=None):  # type: ignore[no-untyped-def]
        self.calls.append((context.prefix, tuple(candidates), query.kind))
        return await super().judge(context, candidates, query)


def test_the_target_is_asked_only_about_steps_of_which_the_draft_is_unsure() -> None:
    own = {STEPS[0].text: 0.99, STEPS[1].text: 0.5, STEPS[2].text: 0.5, STEPS[3].text: 0.01}
    small, big = Asked(opinion={**own, STEPS[4].text: 0.6}), Asked(opinion=0.9)
    found = verdicts(DraftFirstGate(), draft=small, target=big)
    assert [one.kind for one in found] == ["draft_ratio", "ratio", "ratio", "draft_ratio", "ratio"]
    assert [one.accepted for one in found] == [True, True, True, False, True]
    said = [step.text for step in STEPS]
    assert small.calls == [(("before\n\n",), tuple(said), "verdict")]
    assert sorted(big.calls) == sorted(
        [
            (("before\n\n", said[0]), tuple(said[1:3]), "verdict"),
            (("before\n\n", *said[:4]), (said[4],), "verdict"),
        ]
    )


def test_both_questions_are_asked_about_every_step() -> None:
    big = Asked(opinion=0.9)
    found = verdicts(TwoQuestionsGate(), target=big)
    assert [one.accepted for one in found] == [True] * 5
    assert sorted(asks for _, _, asks in big.calls) == ["follows", "seen"]
    assert {len(candidates) for _, candidates, _ in big.calls} == {5}


def test_one_wrong_answer_is_enough_to_reject() -> None:
    class Doubting(ScriptedEngine):
        async def judge(self, context, candidates, query=None):  # type: ignore[no-untyped-def]
            ratio = 0.2 if query.kind == "follows" else 0.9
            return tuple(Evidence(ratio, 1 - ratio) for _ in candidates)

    assert not any(one.accepted for one in verdicts(TwoQuestionsGate(), target=Doubting()))


@pytest.mark.parametrize("gate", [DraftFirstGate(), TwoQuestionsGate()])
def test_a_wrong_number_of_results_is_an_error(gate: Gate) -> None:
    class Short(ScriptedEngine):
        async def judge(self, context, candidates, query=None):  # type: ignore[no-untyped-def]
            return (Evidence(0.9, 0.1),)

    with pytest.raises(EngineError, match="returned 1 results for 5 steps"):
        verdicts(gate, draft=Short(), target=Short())


@pytest.mark.parametrize("error", [EngineError("busy"), EngineLost("gone"), RuntimeError("bug")])
def test_the_target_judges_alone_if_the_draft_cannot_judge(error: Exception) -> None:
    small, big = draft(judge_failures={0: Failure(error)}), target()
    result = go(big, small, gate=DraftFirstGate())
    assert result.complete
    assert texts(result)[0] == DRAFT[0]
    assert "the target judges the steps of the draft alone: draft small: " in notes(result)
    assert str(error) in notes(result)
    assert small.judgments == 1


def test_the_target_judges_alone_if_the_draft_hangs() -> None:
    small = draft(judge_seconds=INF)
    result = go(target(), small, gate=DraftFirstGate(), stall_seconds=0.05)
    assert result.complete
    assert "draft alone: draft small: no output for 0.05 s" in notes(result)


@pytest.mark.parametrize("method", ["fpsr", "sequential", "parse"])
@pytest.mark.parametrize("gate", [DraftFirstGate(), TwoQuestionsGate()])
def test_whole_runs_take_the_gates(method: str, gate: Gate) -> None:
    small = draft(opinion={DRAFT[0]: 0.99, DRAFT[1]: 0.5, DRAFT[2]: 0.5})
    result = go(target(), small, method, gate=gate)
    assert texts(result)[:2] == DRAFT[:2]
    assert result.complete


@pytest.mark.parametrize("method", ["fpsr", "sequential", "parse"])
def test_uncertain_steps_are_the_target_s_without_a_judge_call(method: str) -> None:
    def token_probability(token: str) -> float:
        return 0.5 if token == DRAFT[1].split()[0] + " " else 0.99

    able = Capabilities(logprobs=True, entropy=True)
    small, big = draft(token_probability=token_probability, capabilities=able), target()
    options = ScheduleConfig(deterministic=True)
    result = go(big, small, method, gate=EntropyGate(0.9), options=options)
    assert big.judgments == 0 or method == "parse"
    sources = {step.step.text: step.source for step in result.steps}
    assert sources[DRAFT[0]] == "draft"
    uncertain = [one for one in result.steps if one.verdict and one.verdict.score < 0.9]
    assert not uncertain
