"""Data-parallel training by several processes, each on its part of every batch."""

from __future__ import annotations

import os
import pickle
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
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from dreamr.errors import DreamrError
from dreamr.training import BadTraining

Item = TypeVar("Item")

_LONGEST = timedelta(minutes=30)  # maximum time that a finished process waits for the others


@dataclass(frozen=True, slots=True)
class Team:
    """Rank of this process and number of processes; a single process by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that saves, evaluates and prints."""
        return self.rank == 0

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's part of items that all processes have in the same order."""
        return items[self.rank :: self.size]

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one all-reduce."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        pieces = flat.split([tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over all processes; a missing gradient counts as 0.

        The tower has no gradient in a process whose part of the batch has no images.
        """
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
        """Copy parameters from the leading process to all others."""
        chosen = list(parameters)
        for parameter in chosen:
            parameter.mul_(float(self.leads))
        self.add(chosen)


ALONE = Team()


def run_team(size: int, work: Callable[[Team], None]) -> None:
    """Run a function in several spawned processes; a failure ends all of them.

    Args:
        size: Number of processes; with 1 the function runs in this process.
        work: Function to run; must be picklable.

    Raises:
        DreamrError: If it is the first failure of a process.
        BadTraining: If a process was killed, for example for lack of memory.
        RuntimeError: If a process fails otherwise; has the traceback of the first failure.
    """
    if size == 1:
        work(ALONE)
        return
    with TemporaryDirectory() as folder:
        failure = Path(folder) / "failure"
        started = spawn(
            _member, (size, Path(folder) / "store", failure, work), nprocs=size, join=False
        )
        try:
            while not started.join():
                pass
        except (ProcessRaisedException, ProcessExitedException) as error:
            found = pickle.loads(failure.read_bytes()) if failure.exists() else str(error)
            if isinstance(found, DreamrError):
                raise found from None
            # The others fail too, since they lose their connection to a killed process.
            if (ended := _killed(process.exitcode for process in started.processes)) is not None:
                raise BadTraining(
                    f"a worker was ended by {ended}: run the same command again to resume, with "
                    "fewer --workers if memory was short"
                ) from None
            raise RuntimeError(found) from None


def _killed(exit_codes: Iterable[int | None]) -> str | None:
    """Return the name of the signal that ended a process, other than by `spawn`; None if none."""
    signals = (-code for code in exit_codes if code is not None and code < 0)
    return next((signal.Signals(n).name for n in signals if n != signal.SIGTERM), None)


def _member(rank: int, size: int, store: Path, failure: Path, work: Callable[[Team], None]) -> None:
    # Background jobs of a shell ignore SIGINT, but the parent ends its children with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    shared = dist.FileStore(str(store), size)  # type: ignore[attr-defined]  # but documented
    dist.init_process_group("gloo", store=shared, rank=rank, world_size=size)
    try:
        work(Team(rank, size))
    except Exception as error:
        _report(failure, error)
        dist.destroy_process_group()
        raise
    # Wait through the file store until all processes are done, since none may exit during another's
    # all-reduce. Closing the connections sometimes crashes a process, so exit without it.
    shared.set(f"done {rank}", "yes")
    shared.wait([f"done {other}" for other in range(size)], _LONGEST)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _report(failure: Path, error: Exception) -> None:
    """Write an error or its traceback to a file, unless another process has written one.

    This happens before the connections are closed, which makes the other processes fail too.
    """
    try:
        with failure.open("xb") as file:
            pickle.dump(error if isinstance(error, DreamrError) else traceback.format_exc(), file)
    except FileExistsError:
        return
