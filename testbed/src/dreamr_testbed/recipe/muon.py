"""Muon for matrices (Jordan et al. 2024, scaled as in arXiv 2502.16982), shared by a team.

As in torch.optim.Muon, but for two things. That one orthogonalizes in bfloat16, which takes
twelve times as long as float32 on processors without it: 15 s a step for the target. And in a
team each process orthogonalizes a part of the matrices only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dreamr_testbed.recipe.team import Team

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest orthogonal matrix: the same directions, singular values near 1."""
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = a * wide + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ wide
    result: torch.Tensor = wide if matrix.shape[0] <= matrix.shape[1] else wide.T
    return result


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, at a scale that lets it share AdamW's learning rate.

    Args:
        groups: parameter groups of matrices, each possibly with a rate `lr` of its own.
        team: who shares the work; every process must call `step` with the same gradients.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        team: Team,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})
        self.team = team

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        del closure  # torch's signature; nothing here evaluates twice
        moved = [(p, group) for group in self.param_groups for p in group["params"]]
        moved = [(p, group) for p, group in moved if p.grad is not None]
        updates = [self._heading(p, group["momentum"]) for p, group in moved]
        for at, update in enumerate(updates):
            mine = at % self.team.size == self.team.rank
            updates[at] = orthogonalized(update) if mine else torch.zeros_like(update)
        self.team.add(updates)
        for (p, group), update in zip(moved, updates, strict=True):
            p.mul_(1.0 - group["lr"] * group["weight_decay"])
            p.add_(update, alpha=-0.2 * max(p.shape) ** 0.5 * group["lr"])

    def _heading(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        """Where Nesterov's momentum points."""
        assert parameter.grad is not None
        average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
        average.lerp_(parameter.grad, 1.0 - momentum)
        return parameter.grad.lerp(average, momentum)
