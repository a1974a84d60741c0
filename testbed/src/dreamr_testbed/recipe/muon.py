"""Muon optimizer (Jordan et al. 2024, scaled as in arXiv 2502.16982) for several processes.

It differs from torch.optim.Muon in two ways. It orthogonalizes in float32: bfloat16 takes twelve
times as long on processors without it, 15 s per step of the target. And each process of a team
orthogonalizes only a part of the matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dreamr_testbed.recipe.team import Team

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Approximate the nearest orthogonal matrix by Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = a * wide + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ wide
    result: torch.Tensor = wide if matrix.shape[0] <= matrix.shape[1] else wide.T
    return result


class Muon(torch.optim.Optimizer):
    """Optimizer with orthogonalized momentum, scaled to use the learning rates of AdamW.

    Args:
        groups: Parameter groups of matrices, each optionally with its learning rate `lr`.
        team: Processes that share the work. All must call `step` with the same gradients.
        momentum: Coefficient of Nesterov momentum.
        weight_decay: Decoupled weight decay.
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
        """Update every matrix that has a gradient."""
        del closure  # part of torch's interface, not used here
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
        """Return the Nesterov update before orthogonalization."""
        assert parameter.grad is not None
        average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
        average.lerp_(parameter.grad, 1.0 - momentum)
        return parameter.grad.lerp(average, momentum)
