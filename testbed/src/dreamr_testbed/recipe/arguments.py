"""Checks of the arguments of a training."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from dreamr.tooling import first_line
from dreamr.training import BadTraining
from dreamr_testbed.recipe.plan import Recipe


def check_training(
    parser: argparse.ArgumentParser, options: argparse.Namespace, recipe: Recipe
) -> None:
    """Reject invalid combinations of options before anything is written."""
    smallest = min(stage.batch for stage in recipe.stages)
    if options.workers > smallest:
        parser.error(
            f"--workers must be at most {smallest}, the smallest batch of the recipe, not "
            f"{options.workers}"
        )
    if options.workers > 1 and options.threads > 1:
        parser.error("--threads must be 1 with --workers: each process uses one thread")
    if options.workers > 1 and options.device != "cpu":
        parser.error("--workers supports only --device cpu: on a GPU use one process")
    names = [stage.name for stage in recipe.stages]
    if options.stage not in (None, *names):
        known = ", ".join((*names, *(stage.name for stage in recipe.further)))
        parser.error(f"unknown --stage {options.stage!r}: choose from {known}")
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:  # the latter: torch without CUDA
        parser.error(f"cannot use --device {options.device!r}: {first_line(error)}")


def check_start(
    options: argparse.Namespace, recipe: Recipe, saved: Mapping[str, Any] | None
) -> None:
    """Check that there is a model to continue with, and that it is one of the recipe's stages.

    Raises:
        BadTraining: If the weights would be random, or the checkpoint is of a further stage.
    """
    if saved is not None and (saved["stage"], saved["step"]) > (len(recipe.stages), 0):
        raise BadTraining(
            f"{options.out} holds a training of a further stage: name that with --stage again"
        )
    if saved is not None or options.start:
        return
    if options.export:
        raise BadTraining(f"{options.out} has no checkpoint to export: name another --out")
    if options.stage:
        raise BadTraining(f"--stage {options.stage} needs a model: name its folder with --start")
