"""Functions that team processes run in tests; a module, since the processes import it."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from dreamr_testbed.recipe.muon import Muon

from dreamr.errors import Unwritable
from dreamr.training import BadTraining


def take_steps(team):
    """Return the weights of a small model after three steps on this process's part of a batch."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.nn.Linear(6, 4, bias=False), torch.nn.Linear(4, 6, bias=False)
    for layer in (first, second):
        torch.nn.init.normal_(layer.weight, generator=generator)
    rows = list(torch.randn(8, 6, generator=generator))
    muon = Muon([{"params": [first.weight, second.weight], "lr": 0.1}], team)
    for _ in range(3):
        inputs = torch.stack(list(team.part(rows)))
        ((second(first(inputs)) - inputs) ** 2).mean().backward()
        team.average_gradients([first.weight, second.weight])
        muon.step()
        muon.zero_grad()
    return first.weight.detach(), second.weight.detach()


def save_weights(path, team):
    weights = take_steps(team)
    if team.leads:
        torch.save(weights, path)


def fail(team):
    if team.rank == 1:
        raise ValueError("the second process fails")
    team.add([torch.zeros(1)])  # would wait forever


def end(team):
    if team.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    team.add([torch.zeros(1)])  # would wait forever


def write(team):
    raise Unwritable("cannot write curves.csv")


def refuse(team):
    raise BadTraining("the stage diverged")


@dataclass(frozen=True)
class FailingEvaluator:
    """An evaluator that leaves a file for each part that it is asked for, and then fails."""

    folder: Path

    def outcomes(self, suite, first, count):
        (self.folder / f"{suite}-{first}").touch()
        raise ValueError("cannot solve")
