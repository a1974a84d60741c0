"""Processes that share a batch move as one process with all of it; a member's failure is heard."""

from functools import partial

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe.team import ALONE, Team, run_team
from team_members import fail, save_weights, take_steps


def test_two_with_half_a_batch_each_move_as_one_with_all_of_it(tmp_path):
    run_team(2, partial(save_weights, tmp_path / "weights.pt"))
    for together, alone in zip(torch.load(tmp_path / "weights.pt"), take_steps(ALONE), strict=True):
        torch.testing.assert_close(together, alone)


def test_one_that_fails_ends_all_and_says_why():
    with pytest.raises(RuntimeError, match="the second cannot"):
        run_team(2, fail)


def test_parts_of_a_batch_are_disjoint_and_whole():
    items = list(range(7))
    parts = [Team(rank, 3).part(items) for rank in range(3)]
    assert sorted(item for part in parts for item in part) == items


def test_a_parameter_without_a_gradient_anywhere_stays_as_it_is_when_alone():
    lonely = torch.nn.Parameter(torch.ones(2, 2))
    ALONE.average_gradients([lonely])
    assert lonely.grad is None
