"""Initialization of a decoder layer that compares each token with the expected one.

To judge a step, the target must notice tokens that it would not have written itself. The decoder
represents both: the token at its position, and the expected token at the position before. But
training hardly connects them: after thousands of steps, verdicts on names and digits from a
document were at chance level (docs/design/lab-notes.md). So the weights of one layer are
constructed:

    attention   each head attends to the previous token and carries what it expects, as 64 numbers
    MLP         multiplies these with 64 numbers of the token itself and adds the products
    residual    moves along the direction in which right and wrong tokens already differ

The projections are fitted to states of the model, which takes about two minutes. All weights are
trained afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import LlavaForConditionalGeneration

from dreamr_testbed.recipe.collate import collate
from dreamr_testbed.recipe.examples import Example, ExampleMaker
from dreamr_testbed.recipe.loop import hidden_states
from dreamr_testbed.recipe.models import Size, insert

SHARP = 6.5  # weight of the query and key norms: attention to the previous token is e^10 higher
TURNS = 5  # number of the fastest rotary frequencies, which identify the previous token
WRITTEN = 2.0  # standard deviation of the output of attention; the residual has about 8
RIDGE = 10.0  # regularization of the linear fits
EPOCHS = 24


@dataclass(frozen=True, slots=True)
class States:
    """Inputs of a layer for N tokens and their predecessors.

    Attributes:
        own: Residuals of the tokens, (N, width).
        before: Residuals of their predecessors, (N, width).
        ids: Token ids, (N,).
        expected: Ids of the right tokens in their place, (N,).
        right: 1.0 where `ids` equals `expected`, else 0.0, (N,).
    """

    own: torch.Tensor
    before: torch.Tensor
    ids: torch.Tensor
    expected: torch.Tensor
    right: torch.Tensor


@dataclass(frozen=True, slots=True)
class Comparison:
    """Weights of a fitted comparison, and its scores of the states it was fitted to.

    Attributes:
        expects: Projection of a token's residual to the token that it expects next,
            (width, numbers).
        place: Directions of the residual to which attention writes, (width, numbers).
        is_: Projection of a token's residual to the token itself, (width, numbers).
        expected: Projection of a token's residual to what attention wrote, (width, numbers).
        scale: Factor of the score.
        bias: Bias of the score.
        scores: Scores of the states, (N,); above 0 means right.
    """

    expects: torch.Tensor
    place: torch.Tensor
    is_: torch.Tensor
    expected: torch.Tensor
    scale: float
    bias: float
    scores: torch.Tensor


@torch.no_grad()
def gather(
    model: LlavaForConditionalGeneration, examples: Sequence[Example], below: int, pad: int
) -> States:
    """Collect the states of right tokens and slips of examples.

    Args:
        model: Model that reads the examples.
        examples: Examples with slips.
        below: Number of layers below the states.
        pad: Id of the padding token.
    """
    caught: list[torch.Tensor] = []
    layer = model.model.language_model.layers[below - 1]
    hook = layer.register_forward_hook(lambda _, __, output: caught.append(_first(output)))
    rows: list[tuple[torch.Tensor, torch.Tensor, int, int, float]] = []
    for first in range(0, len(examples), 12):
        group = examples[first : first + 12]
        hidden_states(model, collate(group, pad))
        states = caught.pop()
        for row, example in zip(states, group, strict=True):
            for slip in (i for i, mark in enumerate(example.marks) if mark == 0):
                at = example.positions[slip]
                right = example.ids[at]
                for index, mark in ((slip, 0.0), (at, 1.0)):
                    rows.append((row[index], row[at - 1], example.ids[index], right, mark))
    hook.remove()
    own, before, ids, expected, right_ = zip(*rows, strict=True)
    return States(
        torch.stack(own),
        torch.stack(before),
        torch.tensor(ids),
        torch.tensor(expected),
        torch.tensor(right_),
    )


def _first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


def fit(states: States, numbers: int, vocabulary: int) -> Comparison:
    """Fit a comparison that separates right tokens from wrong ones.

    Args:
        states: States to fit to.
        numbers: Size of the projections.
        vocabulary: Number of tokens.
    """
    random = torch.Generator().manual_seed(0)
    codes = torch.nn.functional.normalize(torch.randn(vocabulary, numbers, generator=random), dim=1)
    own, before = states.own, _normed(states.before)
    covariance = torch.cov(own.T)
    place = torch.linalg.eigh(covariance).eigenvectors[:, :numbers]  # directions of least variance
    expects = _ridge(before, codes[states.expected])
    expects *= WRITTEN / (before @ expects).std()
    written = before @ expects
    found = _normed(own + written @ place.T)
    is_, expected = _ridge(found, codes[states.ids]), _ridge(found, written / WRITTEN)
    free = [nn.Parameter(weight.clone()) for weight in (expects, is_, expected)]
    scale, bias = nn.Parameter(torch.tensor(4.0)), nn.Parameter(torch.tensor(-1.0))
    optimizer = torch.optim.Adam(
        [{"params": free, "lr": 2e-3}, {"params": [scale, bias], "lr": 2e-2}]
    )

    def scores(index: torch.Tensor | slice) -> torch.Tensor:
        found = _normed(own[index] + before[index] @ free[0] @ place.T)
        return scale * ((found @ free[1]) * (found @ free[2])).sum(1) + bias

    for _ in range(EPOCHS):
        for index in torch.randperm(len(own), generator=random).split(512):
            loss = binary_cross_entropy_with_logits(scores(index), states.right[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        fitted = scores(slice(None))
    return Comparison(
        free[0].detach(), place, free[1].detach(), free[2].detach(),
        scale.item(), bias.item(), fitted,
    )  # fmt: skip


def _normed(states: torch.Tensor) -> torch.Tensor:
    return states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + 1e-6)


def _ridge(inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    gram = inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1])
    weights: torch.Tensor = torch.linalg.solve(gram, inputs.T @ outputs)
    return weights


def compare(
    model: LlavaForConditionalGeneration,
    size: Size,
    maker: ExampleMaker,
    examples: Sequence[Example],
    below: int,
) -> LlavaForConditionalGeneration:
    """Insert a fitted comparison layer into a model.

    Args:
        model: Model without the layer.
        size: Size of the model with the layer.
        maker: Maker of the examples.
        examples: Examples with slips to fit to.
        below: Number of layers below the new one.
    """
    tokenizer = maker.tokenizer
    states = gather(model, examples, below, int(tokenizer.pad_token_id))
    attention = model.model.language_model.layers[0].self_attn
    numbers = attention.v_proj.weight.shape[0]
    comparison = fit(states, numbers, len(tokenizer))
    right = states.right > 0
    correct = ((comparison.scores > 0) == right).float()
    print(f"compare  accuracy {correct.mean():.3f} on {len(correct)} tokens", flush=True)
    grown = insert(model, size, tokenizer, below)
    install(grown.model.language_model.layers[below], comparison, states)
    return grown


@torch.no_grad()
def install(layer: Any, comparison: Comparison, states: States) -> None:
    """Set the weights of a Qwen3 layer so that it computes a comparison.

    Args:
        layer: Decoder layer of transformers; changed in place.
        comparison: Fitted comparison.
        states: States that the comparison was fitted to.
    """
    attention, mlp = layer.self_attn, layer.mlp
    size = attention.head_dim
    heads = attention.q_proj.weight.shape[0] // size
    kv_heads = attention.k_proj.weight.shape[0] // size
    layer.input_layernorm.weight.fill_(1.0)
    layer.post_attention_layernorm.weight.fill_(1.0)

    # Queries and keys are constant before the rotation and offset by one position.
    known = _normed(torch.cat([states.own, states.before]))
    constant = _ridge(known, torch.ones(len(known), 1))[:, 0]
    half = size // 2
    turn = attention.config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    query = torch.cat([torch.ones(half), torch.zeros(half)])
    key = torch.cat([turn.cos(), turn.sin()])
    attention.q_proj.weight.copy_(torch.outer(query.repeat(heads), constant))
    attention.k_proj.weight.copy_(torch.outer(key.repeat(kv_heads), constant))
    sharp = SHARP * (torch.arange(half) < TURNS).float().repeat(2)
    attention.q_norm.weight.copy_(sharp)
    attention.k_norm.weight.copy_(sharp)

    # The heads of a group share keys and values, and each writes a part of the value.
    attention.v_proj.weight.copy_(comparison.expects.T)
    group = heads // kv_heads
    parts = comparison.place.split(size, dim=1)
    attention.o_proj.weight.copy_(
        torch.cat([part / group for part in parts for _ in range(group)], dim=1)
    )

    # silu(a) b - silu(-a) b = a b, so two units of the MLP compute a product.
    numbers = comparison.is_.shape[1]
    is_, expected = comparison.is_.T, comparison.expected.T
    mlp.down_proj.weight.zero_()
    mlp.gate_proj.weight[: 2 * numbers] = torch.cat([is_, -is_])
    mlp.up_proj.weight[: 2 * numbers] = torch.cat([expected, -expected])
    mlp.gate_proj.weight[2 * numbers] = 10.0 * constant  # one more is the bias: silu(10) is 10
    mlp.up_proj.weight[2 * numbers] = constant
    direction, step = _direction(states, comparison.scores)
    mlp.down_proj.weight[:, : 2 * numbers] = (step * comparison.scale * direction)[:, None]
    mlp.down_proj.weight[:, 2 * numbers] = step * comparison.bias / 10.0 * direction


def _direction(states: States, scores: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the direction from wrong to right tokens, and the movement per unit of the score.

    The movement separates tokens with a right and a wrong score by their present mean distance.
    """
    right = states.right > 0
    difference = states.own[right].mean(0) - states.own[~right].mean(0)
    apart = float(scores[right].mean() - scores[~right].mean())
    return difference, 1.0 / apart
