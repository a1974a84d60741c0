"""Copies the answers and errors of a shared job from Redis to the files of a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import anyio.to_thread

from dreamr._messages import short_path
from dreamr.serving.batch.errors import BatchError, FileInUse
from dreamr.serving.batch.journal import Journal
from dreamr.serving.batch.lines import read_line
from dreamr.serving.batch.options import BatchOptions
from dreamr.serving.batch.run import Progress, check_same
from dreamr.serving.batch.sharing.job import Page, SharedJob
from dreamr.serving.batch.summary import Summary

_START = b"0-0"
_POLL = 0.25  # seconds between two looks for new lines
_STALLED = 60.0  # seconds in which the process that writes the file of answers must go on


@dataclass(slots=True)
class Mirror:
    """Copies all lines of a job to the file of answers, each once.

    Of several processes with the same file, one writes it; another takes over if that one ends.

    Attributes:
        job: The job.
        options: Names of the files.
        on_progress: Called with the progress of the whole job.
        limit: Returns how many requests this process runs at the same time.
    """

    job: SharedJob
    options: BatchOptions
    on_progress: Callable[[Progress], None]
    limit: Callable[[], int]

    async def run(self) -> Summary:
        """Copy until the job is done and the files are complete, and return its figures.

        Raises:
            BatchError: If the job is lost, or the process that writes the file hangs.
            Unwritable: If a line cannot be written.
        """
        with await self._acquire() as journal:
            return await self._copy(journal)

    async def _acquire(self) -> Journal:
        """Wait until no other process writes the files."""
        size, since = -1, anyio.current_time()
        while True:
            page = await self.job.read(_START, _START, 0)
            self._show(page)
            try:
                return await anyio.to_thread.run_sync(Journal, self.options)
            except FileInUse as error:
                out, now = self.options.out, anyio.current_time()
                if not page.is_done or out.stat().st_size != size:
                    size, since = out.stat().st_size, now
                elif now - since > _STALLED:
                    raise BatchError(
                        f"the process that writes {short_path(out)} hangs: end it, and run the "
                        "same command again"
                    ) from error
            await anyio.sleep(_POLL)

    async def _copy(self, journal: Journal) -> Summary:
        summary, last, round_ = Summary(), (_START, _START), None
        while True:
            page = await self.job.read(*last)
            if page.round != round_:  # requests that failed are sent again
                summary, last, round_ = Summary(), (_START, _START), page.round
                journal.forget_errors()
                continue
            for _, line in page.answers:
                await self._answer(journal, summary, line)
            for _, line in page.errors:
                await journal.add_error(read_line(line)[0], line)
                summary.failed += 1
            last = _last(page.answers, last[0]), _last(page.errors, last[1])
            self._show(page)
            if page.is_done and (summary.answered, summary.failed) == (page.answered, page.failed):
                summary.seconds = page.seconds
                return summary
            if not page.answers and not page.errors:
                if page.is_done:  # Redis came back with an older state: lines were counted twice
                    round_ = None
                await anyio.sleep(_POLL)

    async def _answer(self, journal: Journal, summary: Summary, line: bytes) -> None:
        custom_id, digest = read_line(line)
        if custom_id in journal.answered:
            check_same(journal, custom_id, digest)
        else:
            await journal.add_answer(custom_id, digest, line)
        summary.add(json.loads(line)["response"]["body"])

    def _show(self, page: Page) -> None:
        self.on_progress(Progress(page.answered + page.failed, self.limit(), page.failed))


def _last(entries: list[tuple[bytes, bytes]], before: bytes) -> bytes:
    return entries[-1][0] if entries else before
