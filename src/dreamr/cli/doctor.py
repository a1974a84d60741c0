"""`dreamr doctor`: diagnose a draft/target pair and suggest fixes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dreamr._option_rules import MODEL_RULES
from dreamr._option_specs import OptionRules, OptionSpec
from dreamr._options import MODEL_OPTIONS, RunOptions
from dreamr.cli import interrupts
from dreamr.cli.epilog import ENVIRONMENT, epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.engines import OpenModel
from dreamr.errors import DreamrError
from dreamr.steps import Role

if TYPE_CHECKING:
    from dreamr.serving.doctor import Finding

EPILOG = epilog(
    "dreamr doctor",
    "dreamr doctor --target http://gpu1:8000/v1 --draft http://gpu2:8000/v1",
    "dreamr doctor --target Qwen/Qwen3-VL-8B-Thinking --draft ./draft --json",
    notes=(ENVIRONMENT, "Guide: docs/guides/engines.md"),
)
_RULES = OptionRules(MODEL_RULES)
_STYLES = {"ok": "green", "degraded": "yellow", "wrong": "red", "unknown": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """Options of the output."""

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

    A small example tests continuation, steps, verdicts, prefix cache with images, cancellation
    and speed. The exit status is 1 if anything is wrong.
    """
    report = _Report(options.as_json)
    interrupts.run(_check_models, run, open_model, report)
    if report.is_wrong:
        raise typer.Exit(1)


class _Report:
    """Prints findings as text or JSON, and remembers whether one of them is wrong."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self.is_wrong = False

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
        style = _STYLES[found.state]
        what = escape(" ".join(found.what.split()))
        self._console.print(f"  [{style}]{found.state:<9}[/] {found.about:<13} {what}")
        if found.fix is not None and found.state != "ok":
            self._console.print(f"{'':<26}[bold]try[/] {escape(found.fix)}")


async def _check_models(options: RunOptions, open_model: OpenModel, report: _Report) -> None:
    from dreamr.serving.doctor import Finding, ModelUnderTest, pair_checks, run_checks

    seen: dict[Role, ModelUnderTest] = {}
    roles: tuple[Role, ...] = ("target", "draft")
    for role in roles:
        async with AsyncExitStack() as stack:
            try:
                model = await open_model(options.source(role))
            except DreamrError as error:
                report.title(role)
                report.show(role, Finding("reached", "wrong", str(error)))
                continue
            stack.push_async_callback(model.engine.aclose)
            report.title(role, model.engine.name)
            seen[role] = ModelUnderTest(role, model)
            async for found in run_checks(seen[role]):
                report.show(role, found)
    if len(seen) == len(roles):
        report.title("together")
        report.show("together", pair_checks(seen["target"], seen["draft"]))
