"""Training steps lower the loss, and resumed trainings draw the same batches."""

from dataclasses import replace
from itertools import islice
from random import Random

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe import loop
from dreamr_testbed.recipe.mistakes import Mistake, read, write
from dreamr_testbed.recipe.models import Size, build_model
from dreamr_testbed.recipe.plan import Stage, read_recipes

RECIPES = read_recipes()
TARGET, DRAFT = RECIPES["target"], RECIPES["draft"]
TINY = Size(2, 32, 64, heads=1, kv_heads=1, tower_layers=1, tower_width=32)
STAGE = Stage("reason", "reason", steps=20, batch=4, rate=3e-3, layers=2)
SEEING = Stage("see", "see", steps=20, batch=4, rate=3e-3, layers=2)


def train(model, optimizers, losses):
    for loss in losses:
        loss.backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * group["share"]
            optimizer.step()
            optimizer.zero_grad()
        yield loss.item()


def test_reasoning_and_judging_are_trained_together(maker):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    source = loop.SampleSource(maker, TARGET.data_mix)
    batches = islice(loop.batches(source, STAGE, 0, 0, 0), 16)
    results = [(loss, parts) for loss, parts in trained(model, batches)]
    assert results[-1][0] < results[0][0]
    assert {"loss", "token", "judge_loss", "judge", "error_head"} <= results[-1][1].keys()


def test_only_parameters_that_are_not_frozen_change(maker):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    loop.freeze(model, 1)
    source = loop.SampleSource(maker, TARGET.data_mix)
    list(trained(model, islice(loop.batches(source, STAGE, 0, 0, 0), 2)))
    moved = {name for name, w in model.state_dict().items() if not torch.equal(w, before[name])}
    free = [n for n in before if ".layers.1." in n or n.endswith("language_model.norm.weight")]
    assert moved == {name for name in free if "vision" not in name}
    loop.freeze(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


def trained(model, batches):
    error_head = loop.ErrorHead(32)
    optimizers = loop.optimizers(model, list(error_head.parameters()), STAGE)
    for batch in batches:
        loss, parts = loop.reasoning_loss(model, batch, error_head)
        yield next(train(model, optimizers, [loss])), parts


def test_the_tower_learns_to_name_patches(maker):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    patch_head = loop.PatchHead(32, loop.patch_words(400))
    problems = [loop.draw_problem(Random(i), 1.0) for i in range(8)]
    optimizers = loop.optimizers(model, list(patch_head.parameters()), SEEING)
    losses = (loop.patch_loss(model, patch_head, problems)[0] for _ in range(10))
    values = list(train(model, optimizers, losses))
    assert values[-1] < values[0]


def test_resumed_batches_equal_those_of_an_uninterrupted_run(maker):
    source = loop.SampleSource(maker, DRAFT.data_mix)
    whole = list(islice(loop.batches(source, STAGE, 7, 0, 0), 5))
    later = list(islice(loop.batches(source, STAGE, 7, 3, 0), 2))
    for expected, batch in zip(whole[3:], later, strict=True):
        assert torch.equal(expected["ids"], batch["ids"])
        assert torch.equal(expected["pixels"], batch["pixels"])


def test_mistakes_of_a_draft_become_negative_branches(maker, tmp_path):
    mistake = Mistake("docmath", 5, 1, ("wordy",), "Milk: 9 x 9 = 99.")
    write(tmp_path / "pool.jsonl", iter([mistake]))
    (found,) = read(tmp_path / "pool.jsonl")
    assert found == mistake
    mix = replace(TARGET.data_mix, branches=2, slips=0)
    example = maker.mistaken(found.problem, found.styles, found.text, mix, Random(0))
    verdicts = [i for i, s in zip(example.labels, example.segments, strict=True) if s and i >= 0]
    assert verdicts == [maker.verdict_ids[1], maker.verdict_ids[0]]


def test_the_rate_warms_up_and_falls_only_when_asked():
    flat = Stage("x", "reason", steps=1000, batch=4, rate=1e-3, layers=2)
    falling = Stage("x", "reason", steps=1000, batch=4, rate=1e-3, layers=2, decay=True)
    assert loop.rate_at(flat, 0) < loop.rate_at(flat, 500) == 1e-3
    assert loop.rate_at(falling, 999) == pytest.approx(1e-6)


def test_a_drill_stage_shows_no_images(maker):
    stage = Stage("drill", "drill", steps=20, batch=4, rate=3e-3, layers=2)
    source = loop.SampleSource(maker, TARGET.data_mix)
    image = maker.ids("<image>")[0]
    for batch in islice(loop.batches(source, stage, 0, 0, 0), 8):
        assert not (batch["ids"] == image).any()


def test_only_models_that_judge_get_judging_drills(maker):
    stage = Stage("drill", "drill", steps=20, batch=8, rate=3e-3, layers=2)
    for recipe, judged in ((TARGET, True), (DRAFT, False)):
        source = loop.SampleSource(maker, recipe.data_mix)
        drawn = list(islice(loop.batches(source, stage, 0, 0, 0), 8))
        assert any((batch["segments"] > 0).any() for batch in drawn) is judged


def test_the_error_head_weighs_right_and_wrong_tokens_equally():
    torch.manual_seed(0)
    error_head, states = loop.ErrorHead(8), torch.randn(40, 8)
    marks = torch.tensor([1] * 36 + [0] * 4)
    loss, accuracy = error_head.loss(states, marks)
    same_loss, same_accuracy = error_head.loss(
        torch.cat([states, states[:36]]), torch.cat([marks, marks[:36]])
    )
    torch.testing.assert_close(loss, same_loss)
    assert accuracy == pytest.approx(same_accuracy)
