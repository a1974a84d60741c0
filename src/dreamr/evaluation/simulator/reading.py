"""What the models of one virtual run have read: the prompt, and committed steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Device, Job
from dreamr.steps import Role

_ROUNDING = 1e-12  # seconds


class CommittedText:
    """How many committed steps the target has read or written.

    It reads the others before it writes or judges: steps that were accepted without it.
    """

    def __init__(self, seconds_per_token: float) -> None:
        self._seconds_per_token = seconds_per_token
        self._tokens: list[int] = []  # of each step
        self._seen = 0

    def commit(self, tokens: int, *, written_by_target: bool) -> None:
        """A step more."""
        self._tokens.append(tokens)
        if written_by_target:
            self.mark_seen(len(self._tokens))

    def unread(self, position: int) -> range:
        """Steps before a position that the target has yet to read."""
        return range(min(self._seen, position), position)

    def seconds(self, steps: range) -> float:
        """Seconds in which the target reads these."""
        return self._seconds_per_token * sum(self._tokens[steps.start : steps.stop])

    def mark_seen(self, steps: int) -> None:
        """The target has read the first `steps` steps."""
        self._seen = max(self._seen, steps)

    def mark_read(self, steps: range, seconds: float) -> None:
        """It has read these for so long; a step that is not read whole is read again."""
        for step in steps:
            seconds -= self.seconds(range(step, step + 1))
            if seconds < -_ROUNDING:
                break
            self.mark_seen(step + 1)


@dataclass(eq=False, slots=True)
class _Prefill:
    """The prompt is being read; waiting: the jobs that need it."""

    job: Job
    waiting: list[Job]


class ModelQueues:
    """Hands the jobs of one run to the devices, each model's once it has read the prompt.

    busy: takes the seconds that each model has read the prompt.
    """

    def __init__(
        self, devices: Mapping[Role, Device], costs: Costs, busy: dict[str, float]
    ) -> None:
        self._devices, self._busy = devices, busy
        self._seconds = {"draft": costs.prompt_draft, "target": costs.prompt_target}
        self._prefills: dict[Role, _Prefill] = {}
        self._ready: set[Role] = set()

    def submit(self, role: Role, job: Job) -> None:
        """Hand the job to its device, now or when the prompt is read."""
        if role in self._prefills:
            self._prefills[role].waiting.append(job)
            return
        seconds = self._seconds[role]
        if role in self._ready or seconds <= 0:
            self._ready.add(role)
            self._devices[role].submit(job)
            return
        prefill = Job(role, lambda: seconds, lambda: self._has_read(role))
        self._prefills[role] = _Prefill(prefill, [job])
        self._devices[role].submit(prefill)

    def reads_prompt(self, role: Role) -> bool:
        """Whether the next job of this model would begin with the prompt."""
        return self._seconds[role] > 0 and role not in self._ready and role not in self._prefills

    def withdraw(self, role: Role, job: Job) -> None:
        """Give the job up."""
        prefill = self._prefills.get(role)
        if prefill is not None and job in prefill.waiting:
            prefill.waiting.remove(job)
        else:
            self._devices[role].withdraw(job)

    def end(self) -> None:
        """Give up what a model still reads: it was not needed."""
        for role, prefill in self._prefills.items():
            self.withdraw(role, prefill.job)
            self._busy[role] += prefill.job.spent

    def _has_read(self, role: Role) -> None:
        self._ready.add(role)
        prefill = self._prefills.pop(role)
        self._busy[role] += prefill.job.size()
        for job in prefill.waiting:
            self._devices[role].submit(job)
