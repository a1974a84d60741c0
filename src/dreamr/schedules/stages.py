"""Stages of a run whose deadline is near, and the signals that begin them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from dreamr.steps import Step

# In the order in which a run enters them; each includes the ones before it.
DeadlineStage: TypeAlias = Literal["window", "confidence", "answer", "best"]
STAGES: tuple[DeadlineStage, ...] = get_args(DeadlineStage)

# The error of a run without any text.
NOTHING_WRITTEN = "the deadline has passed before a model wrote anything"


@dataclass(frozen=True, slots=True)
class TimeShort:
    """The deadline is near, so the run trades verification for time.

    Attributes:
        stage: 'window': the draft writes at most two steps ahead. 'confidence': drafted steps that
            the draft is confident of are accepted without the target. 'answer': the thought is
            closed and the target answers. 'best': the run ends with the best answer so far.
        unfinished: What open lanes have written of their current steps, by number.
    """

    stage: DeadlineStage
    unfinished: Mapping[int, Step] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Stop:
    """The run ends with the committed text: undecided steps are discarded."""
