"""Several processes that train one model together, each on its part of every batch."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import ProcessRaisedException, spawn

Item = TypeVar("Item")

_LONGEST = timedelta(minutes=30)  # that the last of the team takes longer than the first


@dataclass(frozen=True, slots=True)
class Team:
    """Who one is among the processes; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that saves, looks and tells."""
        return self.rank == 0

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of something that all have drawn alike."""
        return items[self.rank :: self.size]

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        pieces = flat.split([tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The mean gradient everywhere; a part of a batch without pictures gives the tower none."""
        if self.size == 1:
            return
        chosen = [p for p in parameters if p.requires_grad]
        for parameter in chosen:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in chosen if p.grad is not None]
        self.add(gradients)
        for gradient in gradients:
            gradient.div_(self.size)

    @torch.no_grad()
    def agree(self, parameters: Iterable[nn.Parameter]) -> None:
        """The leader's values everywhere."""
        chosen = list(parameters)
        for parameter in chosen:
            parameter.mul_(float(self.leads))
        self.add(chosen)


ALONE = Team()


def run_team(size: int, work: Callable[[Team], None]) -> None:
    """Do `work` in `size` processes (spawned); one that fails ends the others.

    Raises:
        RuntimeError: a process failed; it carries the traceback of the first that did.
    """
    if size == 1:
        work(ALONE)
        return
    with TemporaryDirectory() as folder:
        failure = Path(folder) / "failure"
        try:
            spawn(_member, (size, Path(folder) / "store", failure, work), nprocs=size)
        except ProcessRaisedException as error:
            raise RuntimeError(failure.read_text() if failure.exists() else str(error)) from None


def _member(rank: int, size: int, store: Path, failure: Path, work: Callable[[Team], None]) -> None:
    # Sent when the parent ends; shells have it ignored in what they start in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    shared = dist.FileStore(str(store), size)  # type: ignore[attr-defined]  # but documented
    dist.init_process_group("gloo", store=shared, rank=rank, world_size=size)
    try:
        work(Team(rank, size))
    except Exception:
        _tell(failure)
        dist.destroy_process_group()
        raise
    # Nobody leaves while another is still adding, and that is told through the file: connections
    # that are being closed bring a member down now and then, so they are left to the end of the
    # process, which comes without further ado.
    shared.set(f"done {rank}", "yes")
    shared.wait([f"done {other}" for other in range(size)], _LONGEST)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _tell(failure: Path) -> None:
    """Keep the exception in hand, if it is the team's first.

    It is written before the connections close, so that what this does to the others comes later.
    """
    try:
        with failure.open("x") as file:
            traceback.print_exc(file=file)
    except FileExistsError:
        return
