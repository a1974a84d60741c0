"""`dreamr batch`: answer the requests of a file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console

from dreamr._option_rules import RUN_RULES
from dreamr._option_specs import OptionRules, Unused
from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr.cli import interrupts
from dreamr.cli.epilog import ENVIRONMENT, EXIT_STATUS, METHODS, epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.progress import shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import OpenModel
from dreamr.errors import RunFailed, Unsupported
from dreamr.serving.batch.options import BatchOptions

if TYPE_CHECKING:
    from httpx2 import AsyncClient

    from dreamr.serving.batch import Progress, Summary

    _Run: TypeAlias = Callable[[AsyncClient], Awaitable[tuple[Summary, int]]]

_RULES = (Unused(("job", "takeover_seconds"), lambda o: o.share is None, "without --share"),)

EPILOG = epilog(
    "dreamr batch questions.jsonl --out answers.jsonl",
    "dreamr batch receipts.csv --out answers.jsonl --pair pair.yaml",
    "dreamr batch questions.jsonl --out answers.jsonl --retry",
    "dreamr batch questions.jsonl --out answers.jsonl --share redis://host/0",
    notes=(
        "An interrupted batch continues if the same command is run again.",
        METHODS,
        ENVIRONMENT,
        EXIT_STATUS,
        "Guide: docs/guides/batch.md",
    ),
)


def batch_command(open_model: OpenModel) -> Callable[..., None]:
    """Return the command."""
    flags = Declared(BatchOptions), run_flags()
    return command(_batch, *flags, rules=OptionRules((*RUN_RULES, *_RULES)), open_model=open_model)


def _batch(batch: BatchOptions, options: RunOptions, open_model: OpenModel) -> None:
    """Answer the requests of a file, several at a time.

    Answers are appended to --out as they are done, errors to a file beside it.
    """
    try:
        interrupts.run(_answer, batch, options, open_model)
    except KeyboardInterrupt:
        _note(stderr_console(), "what is answered is kept; run the same command again to go on")
        raise


async def _answer(batch: BatchOptions, options: RunOptions, open_model: OpenModel) -> None:
    try:
        from dreamr.serving.batch import count_requests
        from dreamr.serving.gateway.local_files import local_client
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"batches need {error.name}, which is not installed: pip install 'dreamr[serve]'"
        ) from error
    total, console = count_requests(batch.requests), stderr_console()
    with shown(console, total, "requests", note="") as show:

        def progress(found: Progress) -> None:
            failed = f", {found.failed} failed" if found.failed else ""
            show(found.done, f"{found.concurrency} at a time{failed}")

        folder = batch.requests.resolve().parent
        async with AsyncExitStack() as stack:
            run = await stack.enter_async_context(_opened(batch, progress))
            reasoner = await stack.enter_async_context(Reasoner(options, open_model=open_model))
            client = local_client(reasoner, folder, batch.max_concurrency)
            summary, failed = await run(await stack.enter_async_context(client))
    _report(console, batch, summary.lines(), failed)


@asynccontextmanager
async def _opened(batch: BatchOptions, progress: Callable[[Progress], None]) -> AsyncIterator[_Run]:
    """Open the files, or join the shared batch, and yield what answers the requests."""
    if batch.share is None:
        from dreamr.serving.batch import Batch, Concurrency, Journal, read_ahead, read_requests

        with Journal(batch) as journal:

            async def alone(client: AsyncClient) -> tuple[Summary, int]:
                requests = read_ahead(read_requests(batch.requests))
                concurrency = Concurrency(batch.max_concurrency)
                running = Batch(requests, client, journal, concurrency, on_progress=progress)
                return await running.run(), len(journal.failed)

            yield alone
        return
    try:
        from dreamr.serving.batch.sharing import join
    except ModuleNotFoundError as error:
        raise Unsupported(
            "sharing a batch needs redis, which is not installed: pip install 'dreamr[redis]'"
        ) from error
    async with join(batch) as shared:

        async def together(client: AsyncClient) -> tuple[Summary, int]:
            summary = await shared.run(client, progress)
            return summary, summary.failed

        yield together


def _report(console: Console, batch: BatchOptions, lines: list[str], failed: int) -> None:
    for line in (*lines, f"answers: {batch.out}"):
        _note(console, line)
    if failed:
        raise RunFailed(
            f"{failed} of the requests failed: see {batch.errors}; to send them again: "
            f"{_again(batch)}"
        )


def _note(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False)


def _again(batch: BatchOptions) -> str:
    """Return the command that sends requests again which failed."""
    given = [word for word in sys.argv[1:] if word != "--retry"]
    if given[:1] != ["batch"] or "@" in (batch.share or ""):  # not this command, or has a password
        return "the same command with --retry"
    return shlex.join(["dreamr", *given, "--retry"])
