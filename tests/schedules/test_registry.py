from __future__ import annotations

from typing import get_args

import pytest

from dreamr.errors import Unsupported
from dreamr.schedules import METHODS, MethodName, OpenLane, ScheduleConfig, by_name


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(Unsupported, match="'magic'; known: fpsr, sequential, target"):
        by_name("magic")


def test_every_method_of_the_options_has_a_schedule() -> None:
    assert get_args(MethodName) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_each_call_gives_a_fresh_schedule(method: str) -> None:
    first, second = by_name(method), by_name(method)
    assert first is not second
    assert first.start() == second.start()


def test_the_target_alone_streams_without_pause() -> None:
    (command,) = by_name("target", ScheduleConfig(max_steps=7, max_tokens=50)).start()
    assert command == OpenLane(0, "target", (), 7, 50)


@pytest.mark.parametrize(
    "wrong",
    [{"window": 0}, {"max_steps": 0}, {"max_tokens": -1}, {"fallback": "x"}, {"final_answer": "x"}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScheduleConfig(**wrong)  # type: ignore[arg-type]
