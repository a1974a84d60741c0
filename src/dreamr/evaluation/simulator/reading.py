"""Text that the models of a virtual run have read: the prompt and committed steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Device, Job
from dreamr.steps import Role

_ROUNDING = 1e-12  # seconds


class CommittedText:
    """The committed steps, and how many of them the target has read or written.

    Before the target writes or judges, it reads the steps that were accepted without it.

    Args:
        seconds_per_token: Seconds in which the target reads a token of a committed step.
    """

    def __init__(self, seconds_per_token: float) -> None:
        self._seconds_per_token = seconds_per_token
        self._tokens: list[int] = []  # of each step
        self._seen = 0

    def commit(self, tokens: int, *, written_by_target: bool) -> None:
        """Append a step."""
        self._tokens.append(tokens)
        if written_by_target:
            self.mark_seen(len(self._tokens))

    def unread(self, position: int) -> range:
        """Return the steps before a position that the target has not read yet."""
        return range(min(self._seen, position), position)

    def seconds(self, steps: range) -> float:
        """Return the seconds in which the target reads these steps."""
        return self._seconds_per_token * sum(self._tokens[steps.start : steps.stop])

    def mark_seen(self, steps: int) -> None:
        """Record that the target has read the first `steps` steps."""
        self._seen = max(self._seen, steps)

    def mark_read(self, steps: range, seconds: float) -> None:
        """Record that the target has spent this time on reading these steps.

        A step that is not read completely is read again later.
        """
        for step in steps:
            seconds -= self.seconds(range(step, step + 1))
            if seconds < -_ROUNDING:
                break
            self.mark_seen(step + 1)


@dataclass(eq=False, slots=True)
class _Prefill:
    """A prompt that is being read, and the jobs that wait for it."""

    job: Job
    waiting: list[Job]


class ModelQueues:
    """Job queues of one run. They hand jobs to the devices once the model has read the prompt.

    Args:
        devices: Device of each model.
        costs: Costs, with the seconds of prefill.
        busy: Receives the seconds that each model spends on prefill, by role.
    """

    def __init__(
        self, devices: Mapping[Role, Device], costs: Costs, busy: dict[str, float]
    ) -> None:
        self._devices, self._busy = devices, busy
        self._seconds = {"draft": costs.prompt_draft, "target": costs.prompt_target}
        self._prefills: dict[Role, _Prefill] = {}
        self._ready: set[Role] = set()

    def submit(self, role: Role, job: Job) -> None:
        """Hand the job to its device, now or when the prompt has been read."""
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
        """Check whether the next job of this model would begin with the prompt."""
        return self._seconds[role] > 0 and role not in self._ready and role not in self._prefills

    def withdraw(self, role: Role, job: Job) -> None:
        """Cancel the job."""
        prefill = self._prefills.get(role)
        if prefill is not None and job in prefill.waiting:
            prefill.waiting.remove(job)
        else:
            self._devices[role].withdraw(job)

    def end(self) -> None:
        """Cancel prompts that are still being read."""
        for role, prefill in self._prefills.items():
            self.withdraw(role, prefill.job)
            self._busy[role] += prefill.job.spent

    def _has_read(self, role: Role) -> None:
        self._ready.add(role)
        prefill = self._prefills.pop(role)
        self._busy[role] += prefill.job.size()
        for job in prefill.waiting:
            self._devices[role].submit(job)
