"""Means of weights."""

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe.weights import blend


def test_a_blended_stage_ends_between_its_weights_and_those_it_began_with():
    model = torch.nn.Linear(2, 2)
    began = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    own = model.weight.detach().clone()
    blend(model, began, 0.25)
    torch.testing.assert_close(model.weight.detach(), 0.25 * own)
