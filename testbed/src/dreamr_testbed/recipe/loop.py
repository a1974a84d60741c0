"""Losses and optimizers for training the tower and the decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import LlavaForConditionalGeneration, PreTrainedModel

from dreamr_testbed.recipe.collate import Batch, collate, normalized
from dreamr_testbed.recipe.data_mix import DataMix
from dreamr_testbed.recipe.examples import IGNORE, ExampleMaker
from dreamr_testbed.recipe.models import IMAGE_TOKENS
from dreamr_testbed.recipe.muon import Muon
from dreamr_testbed.recipe.plan import Stage
from dreamr_testbed.recipe.source import draw_problem
from dreamr_testbed.recipe.team import ALONE, Team
from dreamr_testbed.suites import GRID, LEVELS, Problem, make_problem

SHORT = 256  # tokens of a sequence up to which eager attention is faster in bfloat16 on a CPU


def has_bfloat16(device: torch.device) -> bool:
    """Check whether a device multiplies in bfloat16; other CPUs emulate it seven times slower."""
    if device.type != "cpu":
        return True
    known = torch.cpu.get_capabilities()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def precision(device: torch.device) -> torch.autocast:
    """Return an autocast to bfloat16 where supported; weights and norms stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device))


def _choose_attention(part: PreTrainedModel, tokens: int) -> None:
    """Have a tower or decoder use the faster attention for sequences of this many tokens.

    In bfloat16 on a CPU, eager attention is faster for short sequences. At 700 tokens it takes
    twice as long and four times the memory.
    """
    bfloat16 = part.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    part.set_attn_implementation("eager" if bfloat16 and tokens <= SHORT else "sdpa")


def see(model: LlavaForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """Return the projected image features, (B, IMAGE_TOKENS, width)."""
    _choose_attention(model.model.vision_tower, IMAGE_TOKENS)
    features = model.model.get_image_features(pixel_values=pixels)
    features = getattr(features, "pooler_output", features)
    return features if torch.is_tensor(features) else torch.stack(list(features))


def hidden_states(
    model: LlavaForConditionalGeneration, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a model on a batch with its branch mask.

    Returns:
        The last hidden states and those below the last two layers, both (B, T, width).
    """
    decoder = model.model.language_model
    _choose_attention(decoder, batch["ids"].shape[1])
    embedded = decoder.embed_tokens(batch["ids"])
    is_image = batch["ids"] == model.config.image_token_id
    if len(batch["pixels"]):  # the images of all rows, in the order of their tokens
        features = see(model, batch["pixels"])
        embedded = embedded.masked_scatter(is_image[..., None], features.to(embedded.dtype))
    kind = embedded.device.type  # the mask is added to attention scores of this dtype
    dtype = torch.bfloat16 if torch.is_autocast_enabled(kind) else embedded.dtype
    mask = torch.zeros(batch["mask"].shape, dtype=dtype, device=embedded.device)
    mask = mask.masked_fill(~batch["mask"], torch.finfo(dtype).min)
    output = decoder(
        inputs_embeds=embedded,
        attention_mask=mask,
        position_ids=batch["positions"],
        use_cache=False,
        output_hidden_states=True,
    )
    return output.last_hidden_state, output.hidden_states[-3]


def predictions(
    model: LlavaForConditionalGeneration, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute logits at the labeled positions.

    Returns:
        The logits, (N, vocabulary), and a mask of the N labeled positions, (B, T).
    """
    states, _ = hidden_states(model, batch)
    labeled = batch["labels"] != IGNORE
    return model.lm_head(states[labeled]).float(), labeled


class ErrorHead(nn.Module):
    """Linear head below the last two layers that predicts with which token a step becomes wrong.

    A verdict gives one label per step, this head one per token. The layers above only have to
    aggregate its prediction to a verdict. The head is discarded after training.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return scores that are positive for right tokens, from (..., width) to (...)."""
        scores: torch.Tensor = self.head(self.norm(states)).squeeze(-1)
        return scores.float()

    def loss(self, states: torch.Tensor, marks: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Compute the loss, in which right and wrong tokens have the same total weight.

        Returns:
            The loss and the balanced accuracy.
        """
        losses, shares = [], []
        for mark in (0, 1):
            if (chosen := marks == mark).any():
                scores = self(states[chosen]) * (2 * mark - 1)
                losses.append(-nn.functional.logsigmoid(scores).mean())
                shares.append((scores > 0).float().mean().item())
        return torch.stack(losses).mean(), sum(shares) / len(shares)


def reasoning_loss(
    model: LlavaForConditionalGeneration, batch: Batch, error_head: ErrorHead
) -> tuple[torch.Tensor, dict[str, float]]:
    """Compute the training loss of a batch.

    Returns:
        The weighted loss per token of reasoning, plus the loss of the error head, and metrics for
        the curves.
    """
    labeled = batch["labels"] != IGNORE
    with precision(batch["ids"].device):
        states, below = hidden_states(model, batch)
        logits = model.lm_head(states[labeled]).float()
    labels, weights = batch["labels"][labeled], batch["weights"][labeled]
    losses = cross_entropy(logits, labels, reduction="none")
    judged = batch["segments"][labeled] > 0
    tokens = (~judged).sum().clamp(min=1)
    loss = (losses * weights).sum() / tokens
    right = logits.detach().argmax(-1) == labels
    parts = {"loss": losses[~judged].mean().item(), "token": right[~judged].float().mean().item()}
    if judged.any():
        parts["judge_loss"] = losses[judged].mean().item()
        parts["judge"] = right[judged].float().mean().item()
    if (batch["marks"] != IGNORE).any():
        doubted, parts["error_head"] = error_head.loss(below, batch["marks"])
        loss = loss + doubted
    return loss, parts


class PatchHead(nn.Module):
    """Linear heads that predict label, row and column of each patch; discarded after training."""

    def __init__(self, width: int, words: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self._index = [{word: i for i, word in enumerate(family)} for family in words]
        sizes = [*(len(family) for family in words), GRID, GRID]
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits of each head, (B, patches, classes)."""
        return [head(features) for head in self.heads]

    def answers(self, problems: Sequence[Problem]) -> list[torch.Tensor]:
        """Return the right classes for each head, (B, patches)."""
        first, second = (
            torch.tensor([[index[pair[side]] for pair in p.patches] for p in problems])
            for side, index in enumerate(self._index)
        )
        places = torch.arange(GRID * GRID).expand(len(problems), -1)
        return [first, second, places // GRID, places % GRID]


@cache
def patch_words(count: int = 3000) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Collect the first and second words of all patch labels from `count` problems."""
    rng = Random("words")
    first: set[str] = {""}
    second: set[str] = {""}
    for _ in range(count):
        for one, other in draw_problem(rng, 1 / 3).patches:
            first.add(one)
            second.add(other)
    return tuple(sorted(first)), tuple(sorted(second))


def patch_loss(
    model: LlavaForConditionalGeneration, patch_head: PatchHead, problems: Sequence[Problem]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Compute the loss of predicting all patch labels of problems, and metrics for the curves."""
    device = next(model.parameters()).device
    pixels = normalized([np.asarray(problem.image) for problem in problems]).to(device)
    with precision(device):
        scores = patch_head(see(model, pixels))
    answers = [answer.to(device) for answer in patch_head.answers(problems)]
    loss = sum(
        (
            cross_entropy(s.float().flatten(0, 1), a.flatten())
            for s, a in zip(scores, answers, strict=True)
        ),
        torch.zeros((), device=device),
    )
    busy = answers[0] != 0
    right = (scores[0].argmax(-1) == answers[0]) & (scores[1].argmax(-1) == answers[1])
    return loss, {"loss": loss.item(), "named": right[busy].float().mean().item()}


def optimizers(
    model: LlavaForConditionalGeneration,
    extra: Sequence[nn.Parameter],
    stage: Stage,
    team: Team = ALONE,
) -> list[torch.optim.Optimizer]:
    """Create the optimizers: Muon for matrices of tower and decoder, AdamW for the rest.

    Frozen parameters are left out. The caller sets the learning rate of each group at each step to
    the rate of the stage times the group's `share`.

    Args:
        model: The model.
        extra: Parameters outside the model, such as those of a head.
        stage: The stage.
        team: Processes that share the work of Muon.
    """
    decoder = _matrices(model.model.language_model.layers)
    tower = _matrices(model.model.vision_tower.encoder)
    tower_rest = _others(model.model.vision_tower.parameters(), tower)
    rest = _others(model.parameters(), decoder + tower + tower_rest)
    decoder, tower, tower_rest, rest = (
        [p for p in some if p.requires_grad] for some in (decoder, tower, tower_rest, rest)
    )
    seeing = stage.kind == "see"
    share = 1.0 if seeing else stage.tower
    adam = torch.optim.AdamW(
        [
            {"params": rest + list(extra), "share": 1.0},
            {"params": tower_rest, "share": share},
        ],
        lr=0.0,
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    groups: list[dict[str, Any]] = [{"params": tower, "share": share}]
    if not seeing:
        groups.append({"params": decoder, "share": 1.0})
    return [adam, Muon(groups, team)]


def freeze(model: LlavaForConditionalGeneration, layers: int) -> None:
    """Freeze the lowest layers, embeddings and tower to save backward passes; 0 unfreezes all."""
    model.requires_grad_(layers == 0)
    decoder = model.model.language_model
    for part in (decoder.norm, *decoder.layers[layers:]):
        part.requires_grad_(True)


def _matrices(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.ndim == 2]


def _others(parameters: Iterable[nn.Parameter], taken: list[nn.Parameter]) -> list[nn.Parameter]:
    seen = {id(p) for p in taken}
    return [p for p in parameters if id(p) not in seen]


def rate_at(stage: Stage, step: int) -> float:
    """Return the learning rate of a step: a short warm-up, then constant or decaying to 0."""
    warm = min(100, max(1, stage.steps // 5))
    fall = 1.0 - step / stage.steps if stage.decay else 1.0
    return stage.rate * min(1.0, (step + 1) / warm) * fall


def _test_problem(suite: str, index: int, levels: Sequence[int]) -> Problem:
    level = None if tuple(levels) == LEVELS else levels[index % len(levels)]
    return make_problem(suite, "test", index, level)


def solved(
    model: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    mix: DataMix,
    pad: int,
    levels: Mapping[str, Sequence[int]],
    count: int,
) -> dict[str, float]:
    """Estimate the accuracy of a model on test problems without decoding.

    A problem counts as solved if every reference token is the model's first choice, so that greedy
    decoding would write the reference. This is a lower bound of the accuracy at a hundredth of the
    cost. Steps are in the style that the model begins most often.

    Args:
        model: The model.
        maker: Maker of the examples.
        mix: Data mix of the model.
        pad: Id of the padding token.
        levels: Levels of the problems of each suite.
        count: Number of problems per suite.

    Returns:
        Share of solved problems by suite, and of right verdicts under '<suite>_judge'.
    """
    ends, between = (mix.ends, mix.between) if mix.begins_wordy else (0.0, 0.0)
    mix = replace(mix, ends=round(ends), between=round(between), slips=0)
    scores: dict[str, float] = {}
    device = next(model.parameters()).device
    for suite, known in levels.items():
        right = judged = verdicts = 0
        for first in range(0, count, 32):
            rng = Random(f"solved/{suite}/{first}")
            problems = [_test_problem(suite, 10_000 + first + i, known) for i in range(32)]
            examples = [maker.solution(problem, mix, rng) for problem in problems]
            batch = {k: v.to(device) for k, v in collate(examples, pad).items()}
            with torch.no_grad(), precision(device):
                logits, labeled = predictions(model, batch)
            hits = torch.ones_like(labeled)
            hits[labeled] = logits.argmax(-1) == batch["labels"][labeled]
            branch = batch["segments"] > 0
            judged += int(hits[labeled & branch].sum())
            verdicts += int((labeled & branch).sum())
            right += int((hits | branch).all(1).sum())
        scores[suite] = right / count
        if verdicts:
            scores[f"{suite}_judge"] = judged / verdicts
    return scores
