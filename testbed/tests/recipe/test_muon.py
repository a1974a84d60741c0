"""Muon orthogonalizes, and its steps match those of torch's."""

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe.muon import Muon, orthogonalized
from dreamr_testbed.recipe.team import ALONE


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24)])
def test_singular_values_are_close_to_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_a_step_matches_torch_within_its_precision():
    torch.manual_seed(0)
    start, gradients = torch.randn(12, 20), torch.randn(4, 12, 20)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    own = Muon([{"params": [ours], "lr": 1e-2}], ALONE)
    other = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        own.step()
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=2e-3)


def test_matrices_without_a_gradient_do_not_change():
    parameter = torch.nn.Parameter(torch.ones(3, 3))
    Muon([{"params": [parameter], "lr": 1.0}], ALONE).step()
    assert torch.equal(parameter, torch.ones(3, 3))
