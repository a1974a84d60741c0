"""The estimate of acceptance within a run."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dreamr.schedules.acceptance import Acceptance
from support.fpsr_talk import A

SURE, DOUBTFUL = (replace(A, min_logprob=math.log(p)) for p in (0.9, 0.2))
KINDS = st.sampled_from((SURE, DOUBTFUL, A))


def test_a_step_in_doubt_is_less_likely_than_a_confident_one_before_any_verdict() -> None:
    acceptance = Acceptance()
    assert acceptance.chance(DOUBTFUL) < acceptance.chance(A) < acceptance.chance(SURE)


def test_verdicts_count_for_steps_of_the_same_confidence() -> None:
    acceptance = Acceptance()
    before = acceptance.chance(SURE)
    for _ in range(20):
        acceptance.note(DOUBTFUL, accepted=True)
    assert acceptance.chance(SURE) == before
    assert acceptance.chance(DOUBTFUL) > 0.9


@given(st.lists(st.tuples(KINDS, st.booleans()), max_size=60), KINDS)
def test_chances_are_probabilities_that_move_toward_the_verdicts(verdicts, step) -> None:  # type: ignore[no-untyped-def]
    acceptance = Acceptance()
    for judged, accepted in verdicts:
        acceptance.note(judged, accepted=accepted)
    for asked in (step, None):
        before = acceptance.chance(asked)
        assert 0 < before < 1
        acceptance.note(step, accepted=True)
        assert acceptance.chance(asked) > before
