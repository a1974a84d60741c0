"""A layer that begins as a comparison: what was written against what was expected there.

A judge has to notice that a token is not the one it would have written. Both are known inside
the decoder, the expected token where its predecessor stands, and yet training hardly finds the
way from one to the other: after thousands of steps a name or a digit read from a document was
judged no better than by a coin (docs/design/lab-notes.md). So that way is laid by hand, in the words
that the decoder has for both:

    attention   every head looks at the token before, and carries what that expects, in 64 numbers
    MLP         products of these with 64 numbers of the token itself, added up
    residual    moved along the direction in which right and wrong tokens already differ

The numbers come from a fit to states of the model, which takes about two minutes; training goes
on from there and owns every weight.
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

SHARP = 6.5  # weight of the norms of queries and keys: e^10 between the token before and others
TURNS = 5  # so many of the fastest rotations tell the token before from others
WRITTEN = 2.0  # size of what attention writes, where a residual has about 8
RIDGE = 10.0
EPOCHS = 24


@dataclass(frozen=True, slots=True)
class States:
    """Tokens as a layer finds them, and what stood before them.

    own, before: (N, width), the residual of a token and of its predecessor; ids, expected: (N,),
    the token and the right one in its place; right: (N,), 1.0 where these are the same.
    """

    own: torch.Tensor
    before: torch.Tensor
    ids: torch.Tensor
    expected: torch.Tensor
    right: torch.Tensor


@dataclass(frozen=True, slots=True)
class Comparison:
    """Weights of the comparison, all (width, numbers), and what it says of the states it knows."""

    expects: torch.Tensor  # of the token before: what it expects
    place: torch.Tensor  # where attention writes that, in the residual
    is_: torch.Tensor  # of the token: what it is
    expected: torch.Tensor  # of the token: what attention wrote
    scale: float
    bias: float
    scores: torch.Tensor  # (N,), of the states, above 0: right


@torch.no_grad()
def gather(
    model: LlavaForConditionalGeneration, examples: Sequence[Example], below: int, pad: int
) -> States:
    """States above the lowest `below` layers at facts of some examples, right ones and slips."""
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
    """The comparison that tells right tokens from wrong ones best."""
    random = torch.Generator().manual_seed(0)
    codes = torch.nn.functional.normalize(torch.randn(vocabulary, numbers, generator=random), dim=1)
    own, before = states.own, _normed(states.before)
    covariance = torch.cov(own.T)
    place = torch.linalg.eigh(covariance).eigenvectors[:, :numbers]  # where least happens
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
        told = scores(slice(None))
    return Comparison(
        free[0].detach(), place, free[1].detach(), free[2].detach(),
        scale.item(), bias.item(), told,
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
    """The same model with a comparison above its lowest `below` layers; size: of the new one."""
    tokenizer = maker.tokenizer
    states = gather(model, examples, below, int(tokenizer.pad_token_id))
    attention = model.model.language_model.layers[0].self_attn
    numbers = attention.v_proj.weight.shape[0]
    comparison = fit(states, numbers, len(tokenizer))
    right = states.right > 0
    told = ((comparison.scores > 0) == right).float()
    print(f"compare  told rightly {told.mean():.3f} of {len(told)} tokens", flush=True)
    grown = insert(model, size, tokenizer, below)
    install(grown.model.language_model.layers[below], comparison, states)
    return grown


@torch.no_grad()
def install(layer: Any, comparison: Comparison, states: States) -> None:
    """Make a Qwen3 layer compute the comparison."""
    attention, mlp = layer.self_attn, layer.mlp
    size = attention.head_dim
    heads = attention.q_proj.weight.shape[0] // size
    kv_heads = attention.k_proj.weight.shape[0] // size
    layer.input_layernorm.weight.fill_(1.0)
    layer.post_attention_layernorm.weight.fill_(1.0)

    # Queries and keys are the same everywhere but for their rotation, one turn apart.
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

    # The heads of a group share what they carry, and each writes its part of it.
    attention.v_proj.weight.copy_(comparison.expects.T)
    group = heads // kv_heads
    parts = comparison.place.split(size, dim=1)
    attention.o_proj.weight.copy_(
        torch.cat([part / group for part in parts for _ in range(group)], dim=1)
    )

    # silu(a) b - silu(-a) b = a b, so two units make a product.
    numbers = comparison.is_.shape[1]
    is_, expected = comparison.is_.T, comparison.expected.T
    mlp.down_proj.weight.zero_()
    mlp.gate_proj.weight[: 2 * numbers] = torch.cat([is_, -is_])
    mlp.up_proj.weight[: 2 * numbers] = torch.cat([expected, -expected])
    mlp.gate_proj.weight[2 * numbers] = 10.0 * constant  # and one is the bias: silu(10) is 10
    mlp.up_proj.weight[2 * numbers] = constant
    direction, step = _direction(states, comparison.scores)
    mlp.down_proj.weight[:, : 2 * numbers] = (step * comparison.scale * direction)[:, None]
    mlp.down_proj.weight[:, 2 * numbers] = step * comparison.bias / 10.0 * direction


def _direction(states: States, scores: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Where right tokens lie from wrong ones, and how far to go for one unit of the score.

    A token that is found right is moved so far from one found wrong as they lie apart anyhow.
    """
    right = states.right > 0
    difference = states.own[right].mean(0) - states.own[~right].mean(0)
    apart = float(scores[right].mean() - scores[~right].mean())
    return difference, 1.0 / apart
