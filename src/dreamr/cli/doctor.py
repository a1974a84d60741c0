"""`dreamr doctor`: diagnose a draft/target pair and suggest fixes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dreamr._option_rules import MODEL_RULES
from dreamr._option_specs import OptionRules, OptionSpec
from dreamr._options import MODEL_OPTIONS, RunOptions
from dreamr.cli import interrupts
from dreamr.cli.epilog import ENVIRONMENT, epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.screen import stderr_console
from dreamr.engines import Model, OpenModel, is_served
from dreamr.errors import DreamrError
from dreamr.steps import Role

if TYPE_CHECKING:
    from dreamr.serving.doctor import Finding, ModelUnderTest

EPILOG = epilog(
    "dreamr doctor",
    "dreamr doctor --target http://gpu1:8000/v1 --draft http://gpu2:8000/v1",
    "dreamr doctor --target Qwen/Qwen3-VL-8B-Thinking --draft ./draft --json",
    notes=(ENVIRONMENT, "Guide: docs/guides/engines.md"),
)
_RULES = OptionRules(MODEL_RULES)
_WIDTH = 17  # of the names of checks
_STYLES = {"ok": "green", "degraded": "yellow", "wrong": "red", "unknown": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """Options of the checks and of the output."""

    quick: Annotated[
        bool,
        OptionSpec(
            "Leave out slow checks: image cost, cache blocks, ten compared answers.", "Options"
        ),
    ] = False
    time_limit: Annotated[
        float,
        OptionSpec("Longest time of one check in seconds.", "Options", 1, 3600),
    ] = 60.0

    as_json: Annotated[
        bool,
        OptionSpec("Print one JSON object per finding.", "Options", flags=("--json",)),
    ] = False


def doctor_command(open_model: OpenModel) -> Callable[..., None]:
    """Return the command."""
    return command(
        _doctor,
        Declared(DoctorOptions),
        run_flags(MODEL_OPTIONS),
        rules=_RULES,
        open_model=open_model,
    )


def _doctor(options: DoctorOptions, run: RunOptions, open_model: OpenModel) -> None:
    """Check a draft and a target, and suggest fixes.

    Small examples test continuation, steps, verdicts, the prefix cache, cancellation and speed,
    and tell whether the pair is worth it. The exit status is 1 if anything is wrong.
    """
    report = _Report(options.as_json)
    interrupts.run(_check_models, options, run, open_model, report)
    if report.is_wrong:
        raise typer.Exit(1)


class _Report:
    """Prints findings as text or JSON, and remembers whether one of them is wrong."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self._status = stderr_console().status("")
        self._shows_status = sys.stderr.isatty() and not as_json
        self.is_wrong = False

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show what is in progress on a terminal while a block runs."""
        self.began(what)
        try:
            yield
        finally:
            self.ended()

    def began(self, what: str) -> None:
        """Show what is in progress, on a terminal."""
        if self._shows_status:
            self._status.update(Text(what))
            self._status.start()

    def ended(self) -> None:
        """Show nothing in progress."""
        self._status.stop()

    def title(self, of: str, name: str = "") -> None:
        """Print a heading for the next findings."""
        if not self._as_json:
            self._console.print(f"[bold]{of}[/] {escape(name)}".rstrip())

    def show(self, of: str, found: Finding) -> None:
        """Print one finding."""
        self.is_wrong |= found.state == "wrong"
        if self._as_json:
            print(json.dumps({"of": of, **asdict(found)}))
            return
        self.ended()
        style, what = _STYLES[found.state], " ".join(found.what.split())
        fix = found.fix if found.state != "ok" else None
        if self._console.is_terminal:
            self._console.print(_row(found, style, what, fix))
            return
        print(f"  {found.state:<9} {found.about:<{_WIDTH}} {what}")
        if fix is not None:
            print(f"{'':<{_WIDTH + 13}}try {fix}")


def _row(found: Finding, style: str, what: str, fix: str | None) -> Table:
    """Return a finding for a terminal, with the text in a column of its own."""
    table = Table.grid(padding=(0, 1))
    for width in (1, 9, _WIDTH, None):
        table.add_column(width=width)
    table.add_row("", Text(found.state, style), found.about, Text(what))
    if fix is not None:
        table.add_row("", "", "", Text.assemble(("try ", "bold"), fix))
    return table


async def _check_models(
    options: DoctorOptions, run: RunOptions, open_model: OpenModel, report: _Report
) -> None:
    from dreamr.serving.doctor import ModelUnderTest, pair_checks

    seen: dict[Role, ModelUnderTest] = {}
    roles: tuple[Role, ...] = ("target", "draft")
    for role in roles:
        async with AsyncExitStack() as stack:
            model = await _opened(role, options, run, open_model, report)
            if model is None:
                continue
            stack.push_async_callback(model.engine.aclose)
            report.title(role, model.engine.name)
            seen[role] = ModelUnderTest(role, model)
            await _check(seen[role], options, report)
    if len(seen) == len(roles):
        report.title("together")
        for found in pair_checks(seen["target"], seen["draft"]):
            report.show("together", found)


async def _opened(
    role: Role, options: DoctorOptions, run: RunOptions, open_model: OpenModel, report: _Report
) -> Model | None:
    """Open a model; if that fails, report it and return None."""
    from dreamr.serving.doctor import Finding

    error = f"it could not be opened within {options.time_limit:g} s (--time-limit)"
    try:
        source = run.source(role)
        limit = options.time_limit if is_served(source.location) else math.inf
        with anyio.move_on_after(limit), report.working(f"opening the {role}"):
            return await open_model(source)
    except DreamrError as failed:
        error = str(failed)
    report.title(role)
    report.show(role, Finding("reached", "wrong", error))
    return None


async def _check(tested: ModelUnderTest, options: DoctorOptions, report: _Report) -> None:
    from dreamr.serving.doctor import run_checks

    found = run_checks(
        tested, quick=options.quick, time_limit=options.time_limit, began=report.began
    )
    async with aclosing(found):
        async for one in found:
            report.show(tested.role, one)
    report.ended()
