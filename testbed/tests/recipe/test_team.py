"""Processes that share a batch move as one process with all of it; a member's failure is heard."""

from functools import partial

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe.muon import Muon
from dreamr_testbed.recipe.team import ALONE, Team, run_team


def take_steps(team):
    """The weights after three steps of a small model on its part of one batch."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.nn.Linear(6, 4, bias=False), torch.nn.Linear(4, 6, bias=False)
    for layer in (first, second):
        torch.nn.init.normal_(layer.weight, generator=generator)
    rows = list(torch.randn(8, 6, generator=generator))
    muon = Muon([{"params": [first.weight, second.weight], "lr": 0.1}], team)
    for _ in range(3):
        inputs = torch.stack(list(team.part(rows)))
        ((second(first(inputs)) - inputs) ** 2).mean().backward()
        team.average_gradients([first.weight, second.weight])
        muon.step()
        muon.zero_grad()
    return first.weight.detach(), second.weight.detach()


def save_weights(path, team):
    weights = take_steps(team)
    if team.leads:
        torch.save(weights, path)


def fail(team):
    if team.rank == 1:
        raise ValueError("the second cannot")
    team.add([torch.zeros(1)])  # would wait for ever


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
