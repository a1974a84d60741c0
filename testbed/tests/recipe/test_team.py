"""Processes that share a batch match a single process; a failure in one ends all."""

from functools import partial

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe.team import ALONE, Team, run_team
from team_members import end, fail, refuse, save_weights, take_steps, write

from dreamr.errors import Unwritable
from dreamr.training import BadTraining


def test_two_processes_with_half_a_batch_each_match_one_with_all_of_it(tmp_path):
    run_team(2, partial(save_weights, tmp_path / "weights.pt"))
    for together, alone in zip(torch.load(tmp_path / "weights.pt"), take_steps(ALONE), strict=True):
        torch.testing.assert_close(together, alone)


def test_a_failing_process_ends_the_team_with_its_error():
    with pytest.raises(RuntimeError, match="the second process fails"):
        run_team(2, fail)


def test_an_error_for_the_user_stays_one_line():
    with pytest.raises(BadTraining, match=r"\Athe stage diverged\Z"):
        run_team(2, refuse)
    with pytest.raises(Unwritable, match=r"\Acannot write curves.csv\Z"):
        run_team(2, write)


def test_a_process_that_is_killed_ends_the_team_in_one_line():
    with pytest.raises(BadTraining, match=r"\Aa worker was ended by SIGKILL: .*\Z"):
        run_team(2, end)


def test_parts_of_a_batch_are_disjoint_and_complete():
    items = list(range(7))
    parts = [Team(rank, 3).part(items) for rank in range(3)]
    assert sorted(item for part in parts for item in part) == items


def test_a_single_process_leaves_missing_gradients_alone():
    lonely = torch.nn.Parameter(torch.ones(2, 2))
    ALONE.average_gradients([lonely])
    assert lonely.grad is None
