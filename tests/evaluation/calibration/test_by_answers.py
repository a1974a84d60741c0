from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import anyio
import pytest

from dreamr import Conversation, RunOptions
from dreamr.conversation import Text
from dreamr.engines import Context, Model, ScriptedEngine
from dreamr.errors import EngineError, EngineLost, RunFailed
from dreamr.evaluation.calibration import Calibrated, calibrate_answers
from dreamr.evaluation.tasks import Item
from dreamr.gate import RatioGate

OPTIONS = RunOptions(deterministic=True)
GATES = [RatioGate(threshold) for threshold in (0.95, 0.6, 0.2)]


def item(index: int, label: str = "4", unit: str | None = None) -> Item:
    return Item(
        task="made",
        index=index,
        id=str(index),
        kind="sum",
        unit=unit or str(index),
        conversation=Conversation.from_prompt(f"{index}"),
        read=lambda text: text.strip() or None,
        right=partial(str.__eq__, label),
    )


def number(context: Context) -> int:
    part = context.conversation.turns[0].parts[0]
    assert isinstance(part, Text)
    return int(part.text)


def models(step: Callable[[int], str], ratio: Callable[[int], float]) -> tuple[Model, Model]:
    """Return a target that answers 4 unless a drafted step says otherwise, and a draft.

    Args:
        step: Returns the draft's step by the number of the problem.
        ratio: Returns the ratio of that step.
    """

    def target(context: Context) -> str:
        if not context.prefix:
            return "It is 4.\n\nAnswer: 4"
        return "Answer: " + context.prefix[0].strip(". \n").split()[-1]

    def draft(context: Context) -> str:
        return "" if context.prefix else step(number(context)) + "Answer: 4"

    def opinion(context: Context, candidate: str) -> float:
        return ratio(number(context))

    return (
        Model(ScriptedEngine(script=target, opinion=opinion)),
        Model(ScriptedEngine(script=draft)),
    )


def found(
    target: Model,
    draft: Model,
    items: Sequence[Item],
    risk: float = 0.1,
    **more: object,
) -> Calibrated:
    async def main() -> Calibrated:
        work = partial(calibrate_answers, **more)  # type: ignore[arg-type]
        return await work(target, draft, items, GATES, OPTIONS, risk, 0.9)

    return anyio.run(main)


def wrong_at(numbers: range) -> Callable[[int], str]:
    return lambda number: "It is 5.\n\n" if number in numbers else "It is 4.\n\n"


def test_testing_stops_at_the_first_gate_with_too_many_wrong_answers() -> None:
    # The gate at 0.2 accepts wrong steps, and 30 problems have one.
    wrong = wrong_at(range(30))
    runs: list[int] = []
    calibrated = found(
        *models(wrong, lambda number: 0.4 if number < 30 else 0.99),
        [item(number) for number in range(100)],
        on_done=runs.append,
    )
    assert [one.tested.errors for one in calibrated.candidates] == [0, 0, 30]
    assert calibrated.chosen is calibrated.candidates[1]
    assert calibrated.chosen.accepted == pytest.approx(0.7)
    assert runs == list(range(1, 401))  # the target alone, and three gates
    # If the strictest fails, the others are not tested.
    early = found(*models(wrong, lambda number: 0.99), [item(number) for number in range(100)])
    assert len(early.candidates) == 1
    assert early.chosen is None


def test_a_wrong_answer_that_the_target_alone_gives_is_not_an_error() -> None:
    # 30 answers are wrong by the labels, and the target alone gives them too.
    items = [item(number, label="9" if number < 30 else "4") for number in range(100)]
    calibrated = found(*models(wrong_at(range(0)), lambda number: 0.99), items)
    assert [one.tested.errors for one in calibrated.candidates] == [0, 0, 0]


def test_without_labels_the_targets_own_answer_is_the_reference() -> None:
    # The draft is right where the target alone is wrong, which is an error only without labels.
    items = [item(number, label="5" if number < 30 else "4") for number in range(100)]
    pair = partial(models, wrong_at(range(30)), lambda number: 0.99)
    assert found(*pair(), items).chosen is not None
    by_target = found(*pair(), items, reference="target")
    assert by_target.chosen is None
    assert by_target.candidates[0].tested.errors == 30


def test_items_of_one_problem_are_counted_once() -> None:
    items = [item(number, unit=str(number // 4)) for number in range(100)]
    calibrated = found(*models(wrong_at(range(30)), lambda number: 0.99), items)
    assert calibrated.candidates[0].tested.cases == 25
    assert calibrated.candidates[0].tested.errors == 8


def test_a_lost_engine_ends_the_calibration() -> None:
    _, draft = models(wrong_at(range(0)), lambda number: 0.99)

    def lost(context: Context) -> str:
        raise EngineLost("gone")

    with pytest.raises(RunFailed, match="gone"):
        found(Model(ScriptedEngine(script=lost)), draft, [item(0)])


@pytest.mark.parametrize("error", [EngineLost("gone"), EngineError("too busy")])
def test_a_draft_that_fails_ends_the_calibration(error: EngineError) -> None:
    target, draft = models(wrong_at(range(40)), lambda number: 0.3)
    written = draft.engine.script  # type: ignore[attr-defined]

    def fails(context: Context) -> str:
        if number(context) >= 30:
            raise error
        return str(written(context))

    with pytest.raises(RunFailed, match=f"the draft failed during the calibration.*{error}"):
        found(target, Model(ScriptedEngine(script=fails)), [item(n) for n in range(40)])
