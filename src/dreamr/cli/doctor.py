"""`dreamr doctor`: diagnose a draft/target pair and suggest fixes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.markup import escape

from dreamr._option_specs import OptionSpec
from dreamr._options import MODEL_OPTIONS, RunOptions
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.engines import OpenModel
from dreamr.errors import DreamrError
from dreamr.steps import Role

if TYPE_CHECKING:
    from dreamr.serving.doctor import Finding

_STYLES = {"ok": "green", "degraded": "yellow", "wrong": "red", "unknown": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """How the findings are shown."""

    as_json: Annotated[
        bool,
        OptionSpec("One JSON object a finding, for machines.", "Options", flags=("--json",)),
    ] = False


def doctor_command(open_model: OpenModel) -> Callable[..., None]:
    """The command."""
    return command(
        _doctor, Declared(DoctorOptions), run_flags(MODEL_OPTIONS), open_model=open_model
    )


def _doctor(options: DoctorOptions, run: RunOptions, open_model: OpenModel) -> None:
    """Look at both models: what works, what works badly, what is wrong, and what fixes it.

    Continuation, steps, verdicts, prefix cache with pictures, cancellation and rates are tried
    on a small example. The status is 1 where anything is wrong.
    """
    report = _Report(options.as_json)
    anyio.run(_check_models, run, open_model, report)
    if report.is_wrong:
        raise typer.Exit(1)


class _Report:
    """Prints findings, as lines for people or as JSON, and knows whether one is wrong."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self.is_wrong = False

    def title(self, of: str, name: str = "") -> None:
        """What the next findings are about."""
        if not self._as_json:
            self._console.print(f"[bold]{of}[/] {escape(name)}".rstrip())

    def show(self, of: str, found: Finding) -> None:
        """One finding."""
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
