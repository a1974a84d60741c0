from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Capabilities, Context, Failure, SamplingParams, ScriptedEngine
from dreamr.engines.scripted import words
from dreamr.errors import ContextTooLong, EngineError, Unsupported
from dreamr.evaluation.tasks import Item
from dreamr.gate import Evidence
from dreamr.steps import Ending, Step, StepFormat
from dreamr.training import Completion, Grader, Reference, Rollout, write

OWN = "Tea costs 2.\n\nMilk costs 3.\n\nAnswer: 5"


def item(index: int = 0) -> Item:
    return Item(
        task="sums",
        index=index,
        id=str(index),
        kind="sum",
        unit=str(index),
        conversation=Conversation.from_prompt(f"What do they cost together in case {index}?"),
        read=lambda text: text,
        right=lambda text: text.endswith("Answer: 5"),
    )


def completion(text: str, index: int = 0, *, finished: bool = True) -> Completion:
    *steps, last = text.split("\n\n")
    ending = Ending.ANSWER if last.startswith("Answer:") else Ending.END
    cut = [Step(f"{one}\n\n", 4, Ending.DELIMITER) for one in steps]
    return Completion(item(index), (*cut, Step(last, 3, ending)), 4 * len(cut) + 3, finished)


def grade(grader: Grader, *completions: Completion) -> list[Rollout]:
    return anyio.run(grader.grade, completions)


def test_each_step_but_the_answer_is_judged_after_its_predecessors() -> None:
    seen = []

    def opinion(context: Context, text: str) -> Evidence:
        seen.append(("".join(context.prefix), text))
        return Evidence(0.9, 0.1)

    [one] = grade(Grader([ScriptedEngine(script=OWN, opinion=opinion)]), completion(OWN))
    assert seen == [("", "Tea costs 2.\n\n"), ("Tea costs 2.\n\n", "Milk costs 3.\n\n")]
    assert [verdict.accepted for verdict in one.verdicts] == [True, True]
    assert one.right
    assert one.finished
    assert one.tokens == 11
    assert one.question == "What do they cost together in case 0?"


def test_a_target_that_hardly_answers_accepts_no_more_than_it_does_in_a_run() -> None:
    served = Capabilities(min_label_mass=0.5)
    engine = ScriptedEngine(
        script=OWN, opinion=lambda context, text: Evidence(0.05, 0.01), capabilities=served
    )
    [one] = grade(Grader([engine]), completion(OWN))
    assert not any(verdict.accepted for verdict in one.verdicts)


def test_the_target_writes_each_reference_once() -> None:
    engine = ScriptedEngine(script=OWN)
    grader = Grader([engine])
    first = grade(grader, completion(OWN), completion("Answer: 4"))
    again = grade(grader, completion(OWN))
    assert engine.streams == 1
    assert {one.reference for one in (*first, *again)} == {first[0].reference}
    assert first[0].reference.right
    own = [step.text for step in first[0].reference.steps]
    assert own == ["Tea costs 2.\n\n", "Milk costs 3.\n\n"]


@pytest.mark.parametrize("room", [0, 1, 3])
def test_steps_beyond_the_targets_context_are_rejected(room: int) -> None:
    def opinion(context: Context, text: str) -> Evidence:
        if len(context.prefix) >= room:
            raise ContextTooLong("there is no room")
        return Evidence(0.9, 0.1)

    text = "One.\n\n" * 8 + "Answer: 5"
    [one] = grade(Grader([ScriptedEngine(script=OWN, opinion=opinion)]), completion(text))
    accepted = [verdict.accepted for verdict in one.verdicts]
    assert accepted == [True] * sum(accepted) + [False] * (8 - sum(accepted))
    assert room // 2 <= sum(accepted) <= room


def test_a_problem_beyond_the_targets_context_has_a_reference_without_steps() -> None:
    full = ContextTooLong("there is no room")

    def opinion(context: Context, text: str) -> Evidence:
        raise full

    engine = ScriptedEngine(script=OWN, opinion=opinion, stream_failures={0: Failure(full)})
    [one] = grade(Grader([engine]), completion(OWN))
    assert one.reference == Reference((), 0, right=False)
    assert [verdict.accepted for verdict in one.verdicts] == [False, False]
    assert one.right


def test_a_reference_is_measured_in_tokens_of_the_draft() -> None:
    def tokens(text: str) -> int:
        return len(text.split())

    [by_word, by_letter] = [
        grade(
            Grader([ScriptedEngine(script=OWN, tokenize=tokenize)], count=tokens), completion(OWN)
        )
        for tokenize in (words, list)
    ]
    found = by_word[0].reference
    assert found == by_letter[0].reference
    assert found is not None
    assert [step.tokens for step in found.steps] == [3, 3]
    assert found.tokens == 8 + 1, "the token that ends the turn counts, as in a completion"


def test_without_references_the_target_writes_nothing() -> None:
    engine = ScriptedEngine(script=OWN)
    [one] = grade(Grader([engine], references=False), completion(OWN))
    assert (engine.streams, one.reference) == (0, None)


def test_a_completion_without_an_answer_is_neither_finished_nor_right() -> None:
    [cut, none] = grade(
        Grader([ScriptedEngine(script=OWN)]),
        completion(OWN, finished=False),
        completion("Tea costs 2.\n\nMilk costs 3."),
    )
    assert [(one.finished, one.right) for one in (cut, none)] == [(False, False)] * 2


def test_without_an_answer_marker_the_last_step_is_the_answer() -> None:
    grader = Grader([ScriptedEngine(script=OWN)], step_format=StepFormat(answer_marker=None))
    [one] = grade(grader, completion("Tea costs 2.\n\nIt is Answer: 5"))
    assert [step.text for step in one.steps] == ["Tea costs 2.\n\n"]
    assert one.right


def test_several_targets_share_the_problems_and_keep_the_order() -> None:
    engines = [ScriptedEngine(script=OWN) for _ in range(2)]
    given = [completion(OWN if i % 3 else "Answer: 4", i) for i in range(8)]
    rollouts = grade(Grader(engines), *given)
    assert [one.right for one in rollouts] == [bool(i % 3) for i in range(8)]
    assert [engine.streams for engine in engines] == [4, 4]


def test_a_target_that_cannot_judge_is_refused() -> None:
    engine = ScriptedEngine(capabilities=Capabilities(judge=False), name="mute")
    with pytest.raises(Unsupported, match="mute returns no log-probabilities"):
        Grader([engine])


def test_a_failing_target_ends_the_grading_with_its_own_error() -> None:
    engine = ScriptedEngine(script=OWN, judge_failures={1: Failure(EngineError("out of memory"))})
    with pytest.raises(EngineError, match="out of memory"):
        grade(Grader([engine]), *(completion(OWN, i) for i in range(4)))


def test_write_follows_a_stream_to_its_end() -> None:
    engine = ScriptedEngine(script=OWN)
    whole = anyio.run(write, engine, item(), StepFormat(), SamplingParams())
    short = anyio.run(write, engine, item(), StepFormat(), SamplingParams(max_tokens=5))
    assert (whole.text, whole.finished) == (OWN, True)
    assert (short.tokens, short.finished) == (5, False)
