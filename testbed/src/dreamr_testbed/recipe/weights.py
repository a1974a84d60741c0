"""Weights of a stage: the best ones so far, and the mean with those before the stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlavaForConditionalGeneration

from dreamr_testbed.recipe import loop
from dreamr_testbed.recipe.checkpoint import write_checkpoint
from dreamr_testbed.recipe.collate import Batch
from dreamr_testbed.recipe.plan import Stage
from dreamr_testbed.recipe.source import SampleSource, batches, batches_of

BEST = "best.pt"
HELD_OUT = 32  # batches on which the loss is measured
OF_SUITE = 2  # batches of each suite in a stage with several images
SEED = -1  # of these batches; trainings have seeds from 0
DIVERGED = (
    4.0  # loss, relative to the best one, at which a stage has diverged; a high rate doubles it
)


class BestWeights:
    """The weights of a stage with the lowest loss on held-out examples, kept in a file.

    The error head is left out of the loss: it begins a stage with random weights.

    Attributes:
        loss: The lowest loss; infinite before the first measurement.
        step: The step after which it was measured.
    """

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        batches: Mapping[str, Sequence[Batch]],
        *,
        writes: bool = True,
        resumes: bool = True,
    ) -> None:
        """Read the file if an interrupted run of the stage left it.

        Args:
            folder: Folder of the training.
            stage: The stage; weights of another stage are replaced.
            batches: Held-out batches of each suite, at least one; or of all, under the name ''.
            writes: Whether this process writes the file.
            resumes: Whether the stage was interrupted; else the file is of another training.
        """
        self._path, self._stage, self._batches = folder / BEST, stage.name, batches
        self._shares, self._writes = stage.shares, writes
        self.loss, self.step = math.inf, 0
        saved = self._read() if resumes else {}
        if saved.get("stage") == stage.name:
            self.loss, self.step = saved["loss"], saved["step"]

    @classmethod
    def of(
        cls,
        folder: Path,
        source: SampleSource,
        stage: Stage,
        pad: int,
        *,
        writes: bool,
        resumes: bool = False,
    ) -> BestWeights:
        """Draw the held-out batches of a stage, like those that it trains on."""
        if stage.single_images:
            drawn = {"": list(islice(batches(source, stage, SEED, 0, pad), HELD_OUT))}
        else:
            drawn = {
                suite: batches_of(source, stage, suite, SEED, OF_SUITE, pad)
                for suite in stage.shares
            }
        return cls(folder, stage, drawn, writes=writes, resumes=resumes)

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        found: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        return found

    def measure(self, model: LlavaForConditionalGeneration, step: int) -> dict[str, float]:
        """Measure the loss of a model, and keep its weights if the loss is the lowest so far.

        Returns:
            The loss as 'held_out', a mean weighted by the shares of the suites, and that of each
            suite as 'held_out_<suite>'.
        """
        losses = {
            suite: sum(held_out_loss(model, batch) for batch in batches) / len(batches)
            for suite, batches in self._batches.items()
        }
        shares = {suite: self._shares.get(suite, 1.0) for suite in losses}
        loss = sum(losses[suite] * share for suite, share in shares.items()) / sum(shares.values())
        if loss < self.loss:
            self.loss, self.step = loss, step
            if self._writes:
                kept = {"stage": self._stage, "loss": loss, "step": step}
                write_checkpoint(self._path, {**kept, "model": model.state_dict()})
        return {"held_out": loss} | {f"held_out_{k}": v for k, v in losses.items() if k}

    def diverged(self, loss: float) -> bool:
        """Return whether a loss shows that the stage has diverged."""
        return not loss <= DIVERGED * self.loss  # also if it is not a number

    def restore(self, model: torch.nn.Module) -> None:
        """Load the kept weights into a model, after at least one measurement."""
        model.load_state_dict(self._read()["model"])


@torch.no_grad()
def held_out_loss(model: LlavaForConditionalGeneration, batch: Batch) -> float:
    """Compute the loss of a batch per token of reasoning, plus that per verdict, if it has any."""
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    with loop.precision(device):
        logits, labeled = loop.predictions(model, batch)
    losses = torch.nn.functional.cross_entropy(logits, batch["labels"][labeled], reduction="none")
    judged = batch["segments"][labeled] > 0
    parts = [losses[some].mean() for some in (~judged, judged) if some.any()]
    return float(torch.stack(parts).sum())


def blend(model: torch.nn.Module, other: Mapping[str, torch.Tensor], share: float) -> None:
    """Replace a model's weights by a mean: `share` of its own, the rest of others."""
    own = model.state_dict()
    model.load_state_dict({name: torch.lerp(other[name], own[name], share) for name in own})
