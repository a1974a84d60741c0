"""Means of weights, and the loss that decides which weights a stage keeps."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe.models import Size, build_model
from dreamr_testbed.recipe.plan import Stage, read_recipes
from dreamr_testbed.recipe.source import SampleSource
from dreamr_testbed.recipe.weights import BestWeights, blend

TINY = Size(2, 32, 64, heads=1, kv_heads=1, tower_layers=1, tower_width=32)
MIX = replace(read_recipes()["draft"].data_mix, branches=1)
STAGE = Stage("more", "reason", steps=4, batch=2, rate=1e-3, layers=2)


def measured(folder, maker, stage):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    best = BestWeights.of(folder, SampleSource(maker, MIX), stage, 0, writes=False)
    return best.measure(model, 0)


def test_the_loss_of_a_stage_with_several_images_is_the_mean_of_its_suites(tmp_path, maker):
    shares, levels = {"vqa": 3.0, "pages": 1.0}, {"pages": (1,)}
    losses = measured(tmp_path, maker, replace(STAGE, shares=shares, levels=levels))
    assert losses.keys() == {"held_out", "held_out_vqa", "held_out_pages"}
    mean = (3 * losses["held_out_vqa"] + losses["held_out_pages"]) / 4
    assert losses["held_out"] == pytest.approx(mean)


def test_a_stage_with_single_images_has_one_loss(tmp_path, maker, monkeypatch):
    monkeypatch.setattr("dreamr_testbed.recipe.weights.HELD_OUT", 2)
    assert measured(tmp_path, maker, STAGE).keys() == {"held_out"}


def test_a_blended_stage_ends_between_its_weights_and_those_it_began_with():
    model = torch.nn.Linear(2, 2)
    began = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    own = model.weight.detach().clone()
    blend(model, began, 0.25)
    torch.testing.assert_close(model.weight.detach(), 0.25 * own)
