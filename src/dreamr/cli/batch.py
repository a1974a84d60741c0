"""`dreamr batch`: answer the requests of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from dreamr._option_rules import RUN_RULES
from dreamr._option_specs import OptionRules
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
    from dreamr.serving.batch import Progress

EPILOG = epilog(
    "dreamr batch questions.jsonl --out answers.jsonl",
    "dreamr batch receipts.csv --out answers.jsonl --target http://gpu:8000 --draft http://gpu:8001",
    "dreamr batch questions.jsonl --out answers.jsonl --retry",
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
    return command(_batch, *flags, rules=OptionRules(RUN_RULES), open_model=open_model)


def _batch(batch: BatchOptions, options: RunOptions, open_model: OpenModel) -> None:
    """Answer the requests of a file, several at a time.

    Answers are appended to --out as they are done, errors to a file beside it.
    """
    interrupts.run(_answer, batch, options, open_model)


async def _answer(batch: BatchOptions, options: RunOptions, open_model: OpenModel) -> None:
    try:
        from dreamr.serving.batch import Batch, Concurrency, Journal, count_requests, read_requests
        from dreamr.serving.gateway.local_files import local_client
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"batches need {error.name}, which is not installed: pip install 'dreamr[serve]'"
        ) from error
    total, console = count_requests(batch.requests), stderr_console()
    with Journal(batch) as journal, shown(console, total, "requests") as show:

        def progress(found: Progress) -> None:
            failed = f", {found.failed} failed" if found.failed else ""
            show(found.done, f"{found.concurrency} at a time{failed}")

        folder = batch.requests.resolve().parent
        async with (
            Reasoner(options, open_model=open_model) as reasoner,
            local_client(reasoner, folder, batch.max_concurrency) as client,
        ):
            requests, concurrency = (
                read_requests(batch.requests),
                Concurrency(batch.max_concurrency),
            )
            running = Batch(requests, client, journal, concurrency, on_progress=progress)
            summary = await running.run()
        failed = len(journal.failed)
    _report(console, batch, summary.lines(), failed)


def _report(console: Console, batch: BatchOptions, lines: list[str], failed: int) -> None:
    for line in (*lines, f"answers: {batch.out}"):
        console.print(line, markup=False, highlight=False)
    if failed:
        raise RunFailed(
            f"{failed} of the requests failed: see {batch.errors}; add --retry to send them again"
        )
