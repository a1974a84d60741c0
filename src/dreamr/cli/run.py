"""`dreamr run`: answer one question, step by step."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dreamr._media_options import READING
from dreamr._option_rules import RUN_RULES, greedy
from dreamr._option_specs import Conflict, OptionRules, OptionSpec, Unused, check_options
from dreamr._options import RunOptions
from dreamr._output_files import Output
from dreamr._reasoner import Reasoner
from dreamr.cli import interrupts
from dreamr.cli.epilog import ENVIRONMENT, EXIT_STATUS, METHODS, epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.live_output import LiveOutput
from dreamr.cli.screen import Screen, printable, stderr_console
from dreamr.cli.streams import LostOutput, stdin_bytes, text_of
from dreamr.conversation import MAX_BYTES, Attachment, Conversation, MediaOptions, read_attachment
from dreamr.engines import OpenModel, is_served
from dreamr.errors import RunFailed, Unwritable
from dreamr.schedules import CONTEXT_FULL
from dreamr.steps import Ending
from dreamr.trace import Event, Note, Result, RunFinished, event_to_json, timeline_html

if TYPE_CHECKING:
    from dreamr.training import RecordFile

EPILOG = epilog(
    'dreamr run "What do tea and milk cost together?" -a receipt.png',
    'dreamr run "What is due on page 2?" -a bill.pdf --pages 1-3',
    'dreamr run "What is shown?" -a clip.mp4 --frames 4 --html timeline.html',
    "dreamr run -a photo.jpg -a question.ogg --transcriber small",
    'dreamr run "How many?" -a a.jpg --target http://gpu:8000/v1 --draft ./draft',
    notes=(
        METHODS,
        ENVIRONMENT,
        EXIT_STATUS,
        "Guides: docs/guides/media.md, docs/guides/gates.md, docs/guides/engines.md",
    ),
)
_PANEL = "Options"
_RULES = OptionRules(
    (
        *RUN_RULES,
        Unused(("seed",), greedy, "with greedy decoding"),
        Unused((*READING, "draft_frames"), lambda o: not o.attach, "without --attach"),
    )
)


@dataclass(slots=True)
class _Run:
    """A run: what the command line asked for, and the events so far."""

    question: Conversation
    options: RunOptions
    as_json: bool
    trace: LiveOutput | None
    html: Output | None
    record: RecordFile | None
    screen: Screen
    events: list[Event] = field(default_factory=list)
    unwritable: Unwritable | None = None

    def add(self, event: Event) -> None:
        """Show and record an event; an error in writing is kept for the end of the run."""
        self.events.append(event)
        self.screen.show(event)
        if self.trace is not None and self.unwritable is None:
            try:
                self.trace.write(json.dumps(event_to_json(event), ensure_ascii=False) + "\n")
            except Unwritable as error:
                self.unwritable = error

    @property
    def result(self) -> Result | None:
        """Result of the run; None before its end."""
        last = self.events[-1] if self.events else None
        return last.result if isinstance(last, RunFinished) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """Options of the question and the output.

    Raises:
        BadOption: If two files are to be read from standard input, or nothing is asked.
    """

    question: Annotated[
        str | None,
        OptionSpec(
            "Question to answer; not needed if one of the attachments is a spoken question.",
            "Arguments",
            positional=True,
        ),
    ] = None
    attach: Annotated[
        tuple[Path, ...],
        OptionSpec(
            "Image, PDF, video or sound file; - reads standard input. Repeatable.",
            _PANEL,
            flags=("--attach", "-a"),
            reads="*",
        ),
    ] = ()
    as_json: Annotated[
        bool,
        OptionSpec("Print one JSON object instead of the answer.", _PANEL, flags=("--json",)),
    ] = False
    trace: Annotated[
        Path | None,
        OptionSpec("File to write every event to, one JSON object per line.", _PANEL, writes=True),
    ] = None
    html: Annotated[
        Path | None, OptionSpec("HTML file to write a timeline of the run to.", _PANEL, writes=True)
    ] = None
    record: Annotated[
        Path | None,
        OptionSpec("File to append the run to, for dreamr train from-traces.", _PANEL, writes=True),
    ] = None

    def __post_init__(self) -> None:
        check_options(self, _CONFLICTS)


_STDIN = Path("-")
_CONFLICTS = (
    Conflict(
        lambda o: o.attach.count(_STDIN) > 1,
        "standard input holds one file: give -a - once, and name the others",
    ),
    Conflict(
        lambda o: o.question is None and not o.attach,
        "nothing is asked: give a question, or a spoken one as in -a question.ogg",
    ),
)


def run_command(open_model: OpenModel) -> Callable[..., None]:
    """Return the command."""
    return command(_ask, Declared(AskOptions), run_flags(), rules=_RULES, open_model=open_model)


def _ask(asked: AskOptions, options: RunOptions, open_model: OpenModel) -> None:
    """Answer a question about images, PDF pages, videos and sound, step by step.

    The question is text, or spoken in one of the attachments.

    Only the answer goes to standard output; everything else goes to standard error.
    """
    media = options.media(_needed_pixels(options))
    words = text_of(asked.question or "")
    if words or not asked.attach:
        Conversation.from_prompt(words)  # before the files, whose reading takes time
    # Checks the question before any file is written.
    question = Conversation.from_prompt(words, *(_read(path, media) for path in asked.attach))
    with ExitStack() as stack:
        run = _Run(
            question,
            options,
            asked.as_json,
            None if asked.trace is None else stack.enter_context(LiveOutput(asked.trace)),
            None if asked.html is None else stack.enter_context(Output(asked.html)),
            None if asked.record is None else stack.enter_context(_record_file(asked.record)),
            Screen(stderr_console()),
        )
        stack.enter_context(run.screen.warnings())
        _run(run, open_model)


def _needed_pixels(options: RunOptions) -> int | None:
    """Return the number of pixels above which no model gets more of an image.

    Images are then decoded once, in that size. None if it is unknown: models that are opened here
    decide about the size.
    """
    sources = [options.source(role) for role in options.roles]
    if not all(is_served(source.name) and source.max_pixels for source in sources):
        return None
    return max(source.max_pixels for source in sources)


def _read(path: Path, media: MediaOptions) -> Attachment:
    return read_attachment(stdin_bytes(MAX_BYTES) if path == _STDIN else path, media)


def _record_file(path: Path) -> RecordFile:
    from dreamr.training import RecordFile  # only this option needs it

    return RecordFile(path)


def _run(run: _Run, open_model: OpenModel) -> None:
    """Reason, and write the timeline however the run ends.

    Raises:
        RunFailed: If the run failed, after the answer was printed if there is one.
        Unwritable: If the trace could not be written, likewise.
    """
    try:
        interrupts.run(partial(_reason, run, open_model))
    finally:
        if run.events:
            with interrupts.deferred():
                _write_timeline(run)
    if run.unwritable is not None:
        raise run.unwritable


async def _reason(run: _Run, open_model: OpenModel) -> None:
    async with AsyncExitStack() as stack:
        with run.screen.working("loading the models"):
            reasoner = await stack.enter_async_context(Reasoner(run.options, open_model=open_model))
        failure = None
        with run.screen.working("thinking"):
            try:
                async with aclosing(reasoner.stream(run.question)) as events:
                    async for event in events:
                        run.add(event)
            except RunFailed as error:
                failure = error
        # Before the models are closed: an error in closing must not lose the answer.
        try:
            _deliver(run)
        finally:
            _write_record(run)
        if failure is not None:
            raise failure


def _deliver(run: _Run) -> None:
    """Print the answer, as far as there is one.

    Raises:
        LostOutput: If standard output cannot be written.
        RunFailed: If a limit cut the run, or the model stopped after a thought.
    """
    result = run.result
    if result is None:
        return
    run.screen.summary(result)
    try:
        if run.as_json:
            print(json.dumps(_as_json(run, result), ensure_ascii=False))
        elif result.answer or result.complete:
            print(printable(result.answer))
        sys.stdout.flush()
    except LostOutput as error:
        raise LostOutput(f"cannot write the answer: {error.reason}", error.reason) from error
    if result.finish != "length":
        return
    if result.steps and result.steps[-1].step.ending is Ending.THOUGHT:
        raise RunFailed(
            "the model stopped after a thought, without an answer: raise --temperature", result
        )
    notes = [event.message for event in run.events if isinstance(event, Note)]
    if full := next((note for note in notes if note.startswith(CONTEXT_FULL)), None):
        raise RunFailed(f"{full}: shorten the prompt or use a longer context", result)
    raise RunFailed(
        "the run reached a limit before its end: raise --max-tokens or --max-steps", result
    )


def _write_record(run: _Run) -> None:
    if run.record is None or run.result is None:
        return
    from dreamr.training import record_of

    name = datetime.now(UTC).isoformat(timespec="milliseconds")
    run.record.add(record_of(name, run.question, run.result))


def _as_json(run: _Run, result: Result) -> dict[str, Any]:
    return {"question": run.question.text, **result.to_json(), "options": run.options.to_json()}


def _write_timeline(run: _Run) -> None:
    if run.html is not None:
        run.html.write(timeline_html(run.events, question=run.question))
        run.screen.line(f"timeline: {run.html.path}")
    if run.trace is not None and run.unwritable is None:
        run.trace.close()
        run.screen.line(f"trace: {run.trace.path}")
