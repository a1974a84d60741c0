"""Training steps lower the loss, and draw the same batches wherever they are taken up again."""

from dataclasses import replace
from itertools import islice
from random import Random

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe import loop as _loop
from dreamr_testbed.recipe.examples import DATA_MIXES
from dreamr_testbed.recipe.mistakes import Mistake, read, write
from dreamr_testbed.recipe.models import Size, build_model
from dreamr_testbed.recipe.stages import Stage

TINY = Size(2, 32, 64, heads=1, kv_heads=1, tower_layers=1, tower_width=32)
STAGE = Stage("reason", "reason", 20, 4, 3e-3, layers=2)
SEEING = Stage("see", "see", 20, 4, 3e-3, layers=2)


def train(model, optimizers, losses):
    for loss in losses:
        loss.backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * group["share"]
            optimizer.step()
            optimizer.zero_grad()
        yield loss.item()


def test_reasoning_and_judging_are_learnt_together(maker):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    kitchen = _loop.SampleSource(maker, DATA_MIXES["target"])
    batches = islice(_loop.batches(kitchen, STAGE, 0, 0, 0), 16)
    results = [(loss, parts) for loss, parts in trained(model, batches)]
    assert results[-1][0] < results[0][0]
    assert {"loss", "token", "judge_loss", "judge", "doubt"} <= results[-1][1].keys()


def test_what_is_frozen_stays_and_the_rest_moves(maker):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    _loop.freeze(model, 1)
    kitchen = _loop.SampleSource(maker, DATA_MIXES["target"])
    list(trained(model, islice(_loop.batches(kitchen, STAGE, 0, 0, 0), 2)))
    moved = {name for name, w in model.state_dict().items() if not torch.equal(w, before[name])}
    free = [n for n in before if ".layers.1." in n or n.endswith("language_model.norm.weight")]
    assert moved == {name for name in free if "vision" not in name}
    _loop.freeze(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


def trained(model, batches):
    doubt = _loop.ErrorHead(32)
    optimizers = _loop.optimizers(model, list(doubt.parameters()), STAGE)
    for batch in batches:
        loss, parts = _loop.reasoning_loss(model, batch, doubt)
        yield next(train(model, optimizers, [loss])), parts


def test_the_tower_learns_to_name_patches(maker):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    sight = _loop.PatchHead(32, _loop.sight_words(400))
    problems = [_loop.draw_problem(Random(i), 1.0) for i in range(8)]
    optimizers = _loop.optimizers(model, list(sight.parameters()), SEEING)
    losses = (_loop.sight_loss(model, sight, problems)[0] for _ in range(10))
    values = list(train(model, optimizers, losses))
    assert values[-1] < values[0]


def test_batches_taken_up_later_are_those_of_a_run_without_a_break(maker):
    kitchen = _loop.SampleSource(maker, DATA_MIXES["draft"])
    whole = list(islice(_loop.batches(kitchen, STAGE, 7, 0, 0), 5))
    later = list(islice(_loop.batches(kitchen, STAGE, 7, 3, 0), 2))
    for expected, batch in zip(whole[3:], later, strict=True):
        assert torch.equal(expected["ids"], batch["ids"])
        assert torch.equal(expected["pixels"], batch["pixels"])


def test_mistakes_of_a_draft_become_negative_branches(maker, tmp_path):
    mistake = Mistake("docmath", 5, 1, ("wordy",), "Milk: 9 x 9 = 99.")
    write(tmp_path / "pool.jsonl", iter([mistake]))
    (found,) = read(tmp_path / "pool.jsonl")
    assert found == mistake
    diet = replace(DATA_MIXES["target"], branches=2, slips=0)
    example = maker.mistaken(found.problem, found.styles, found.text, diet, Random(0))
    verdicts = [i for i, s in zip(example.labels, example.segments, strict=True) if s and i >= 0]
    assert verdicts == [maker.verdict_ids[1], maker.verdict_ids[0]]


def test_the_rate_warms_up_and_falls_only_when_asked():
    flat = Stage("x", "reason", 1000, 4, 1e-3, layers=2)
    falling = Stage("x", "reason", 1000, 4, 1e-3, layers=2, decay=True)
    assert _loop.rate_at(flat, 0) < _loop.rate_at(flat, 500) == 1e-3
    assert _loop.rate_at(falling, 999) == pytest.approx(1e-6)


def test_a_drill_stage_shows_no_images(maker):
    stage = Stage("drill", "drill", 20, 4, 3e-3, layers=2)
    kitchen = _loop.SampleSource(maker, DATA_MIXES["target"])
    image = maker.ids("<image>")[0]
    for batch in islice(_loop.batches(kitchen, stage, 0, 0, 0), 8):
        assert not (batch["ids"] == image).any()


def test_only_those_who_are_to_judge_are_drilled_in_it(maker):
    stage = Stage("drill", "drill", 20, 8, 3e-3, layers=2)
    for name, judged in (("target", True), ("draft", False)):
        kitchen = _loop.SampleSource(maker, DATA_MIXES[name])
        drawn = list(islice(_loop.batches(kitchen, stage, 0, 0, 0), 8))
        assert any((batch["segments"] > 0).any() for batch in drawn) is judged


def test_doubt_weighs_right_and_wrong_tokens_alike():
    torch.manual_seed(0)
    doubt, states = _loop.ErrorHead(8), torch.randn(40, 8)
    marks = torch.tensor([1] * 36 + [0] * 4)
    loss, told = doubt.loss(states, marks)
    twice_right, told_again = doubt.loss(
        torch.cat([states, states[:36]]), torch.cat([marks, marks[:36]])
    )
    torch.testing.assert_close(loss, twice_right)
    assert told == pytest.approx(told_again)
