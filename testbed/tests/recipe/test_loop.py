"""Training steps lower the loss."""

from itertools import islice
from random import Random

import pytest
import torch
from torch.nn.functional import pad

pytest.importorskip("transformers")

from dreamr_testbed.recipe import loop
from dreamr_testbed.recipe.collate import collate
from dreamr_testbed.recipe.models import Size, build_model
from dreamr_testbed.recipe.plan import Stage, read_recipes
from dreamr_testbed.recipe.source import SampleSource, batches, draw_problem

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
    source = SampleSource(maker, TARGET.data_mix)
    drawn = islice(batches(source, STAGE, 0, 0, 0), 16)
    results = [(loss, parts) for loss, parts in trained(model, drawn)]
    assert results[-1][0] < results[0][0]
    assert {"loss", "token", "judge_loss", "judge", "error_head"} <= results[-1][1].keys()


def test_only_parameters_that_are_not_frozen_change(maker):
    torch.manual_seed(0)
    model = build_model(TINY, maker.tokenizer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    loop.freeze(model, 1)
    source = SampleSource(maker, TARGET.data_mix)
    list(trained(model, islice(batches(source, STAGE, 0, 0, 0), 2)))
    moved = {name for name, w in model.state_dict().items() if not torch.equal(w, before[name])}
    free = [n for n in before if ".layers.1." in n or n.endswith("language_model.norm.weight")]
    assert moved == {name for name in free if "vision" not in name}
    loop.freeze(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("tokens", "bfloat16", "expected"),
    [(loop.SHORT, True, "eager"), (loop.SHORT + 1, True, "sdpa"), (loop.SHORT, False, "sdpa")],
)
def test_short_sequences_use_eager_attention_in_bfloat16(maker, tokens, bfloat16, expected):
    model = build_model(TINY, maker.tokenizer)
    problem = draw_problem(Random(0), 1.0)
    batch = collate([maker.reading(problem)], model.config.text_config.pad_token_id)
    more = tokens - batch["ids"].shape[1]
    padded = {name: pad(batch[name], (0, more)) for name in ("ids", "positions")}
    batch |= padded | {"mask": pad(batch["mask"], (0, more, 0, more), value=True)}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loop.hidden_states(model, batch)
    decoder, tower = model.model.language_model, model.model.vision_tower
    assert decoder.config._attn_implementation == expected
    assert tower.config._attn_implementation == ("eager" if bfloat16 else "sdpa")


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
    problems = [draw_problem(Random(i), 1.0) for i in range(8)]
    optimizers = loop.optimizers(model, list(patch_head.parameters()), SEEING)
    losses = (loop.patch_loss(model, patch_head, problems)[0] for _ in range(10))
    values = list(train(model, optimizers, losses))
    assert values[-1] < values[0]


def test_the_rate_warms_up_and_falls_only_when_asked():
    flat = Stage("x", "reason", steps=1000, batch=4, rate=1e-3, layers=2)
    falling = Stage("x", "reason", steps=1000, batch=4, rate=1e-3, layers=2, decay=True)
    assert loop.rate_at(flat, 0) < loop.rate_at(flat, 500) == 1e-3
    assert loop.rate_at(falling, 999) == pytest.approx(1e-6)


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
