"""An installed comparison layer computes the scores of the fit."""

from dataclasses import replace
from random import Random

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed.recipe.collate import collate
from dreamr_testbed.recipe.comparer import States, fit, gather, insert, install
from dreamr_testbed.recipe.loop import hidden_states
from dreamr_testbed.recipe.models import Size, build_model
from dreamr_testbed.recipe.plan import read_recipes
from dreamr_testbed.suites import make_problem

TARGET = read_recipes()["target"]
SMALL = Size(2, 32, 96, heads=2, kv_heads=1, tower_layers=1, tower_width=32)
DEEPER = replace(SMALL, layers=3)


@pytest.fixture(scope="module")
def model(maker):
    torch.manual_seed(0)
    return build_model(SMALL, maker.tokenizer).eval()


@pytest.fixture(scope="module")
def examples(maker):
    mix = replace(TARGET.data_mix, branches=1, slips=40)
    problems = [make_problem("docmath", "train", index) for index in range(24)]
    return [maker.solution(problem, mix, Random(0)) for problem in problems]


def test_states_pair_each_slip_with_the_right_token(model, examples):
    states = gather(model, examples, 1, 0)
    assert torch.equal(states.right, (states.ids == states.expected).float())
    assert states.right.mean() == 0.5
    assert torch.equal(states.before[0::2], states.before[1::2])


def test_a_fit_separates_expected_tokens_from_others():
    random = torch.Generator().manual_seed(0)
    words = torch.randn(20, 32, generator=random)
    expected = torch.randint(20, (4000,), generator=random)
    right = torch.arange(4000) % 2 == 0
    ids = torch.where(right, expected, (expected + 1 + torch.randint(19, (4000,))) % 20)
    noise = torch.randn(2, 4000, 32, generator=random) / 5
    # Expected tokens are represented in other directions than the tokens themselves.
    turn = torch.linalg.qr(torch.randn(32, 32, generator=random)).Q
    states = States(
        words[ids] + noise[0], words[expected] @ turn + noise[1], ids, expected, right.float()
    )
    correct = (fit(states, 32, 20).scores > 0) == right
    assert correct.float().mean() > 0.97


def test_an_inserted_layer_changes_nothing_before_the_comparison_is_installed(
    model, maker, examples
):
    grown = insert(model, DEEPER, maker.tokenizer, 1).eval()
    batch = collate(examples[:2], 0)
    with torch.no_grad():
        torch.testing.assert_close(hidden_states(grown, batch)[0], hidden_states(model, batch)[0])


def test_the_layer_moves_each_token_by_its_score_and_writes_to_its_place(model, maker, examples):
    states = gather(model, examples, 1, 0)
    comparison = fit(states, 32, len(maker.tokenizer))
    grown = insert(model, DEEPER, maker.tokenizer, 1).eval()
    install(grown.model.language_model.layers[1], comparison, states)
    moved = gather(grown, examples, 2, 0).own - states.own
    normed = states.before * torch.rsqrt(states.before.pow(2).mean(-1, keepdim=True) + 1e-6)
    written = normed @ comparison.expects @ comparison.place.T
    right = states.right > 0
    direction = states.own[right].mean(0) - states.own[~right].mean(0)
    apart = comparison.scores[right].mean() - comparison.scores[~right].mean()
    scored = (comparison.scores / apart)[:, None] * direction
    wanted = written + scored
    # Only approximately: attention includes a little of other tokens, more so in untrained models.
    alike = torch.cosine_similarity(moved, wanted)
    assert alike.quantile(0.1) > 0.95
