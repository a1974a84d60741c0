"""`dreamr doctor`: look at a pair of models, and say what works and what mends the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.markup import escape

from dreamr._options import RunOptions
from dreamr.cli.flags import option_parameters, with_flags
from dreamr.engines import OpenModel
from dreamr.errors import DreamrError
from dreamr.schedules import Role

_STYLES = {"ok": "green", "degraded": "yellow", "wrong": "red", "unknown": "dim"}
_FLAGS = (
    "target", "draft", "target_model", "draft_model", "judge_prompt", "answer_marker", "device",
    "draft_device", "threads",
)  # fmt: skip


def doctor_command(open_model: OpenModel) -> Callable[..., None]:
    """The command."""

    def doctor(
        as_json: Annotated[
            bool, typer.Option("--json", help="One JSON object a finding, for machines.")
        ] = False,
        **options: Any,
    ) -> None:
        """Look at both models: what works, what works badly, what is wrong, and what fixes it.

        Continuation, steps, verdicts, prefix cache with pictures, cancellation and rates are tried
        on a small example. The status is 1 where anything is wrong.
        """
        wrong = anyio.run(_doctor, RunOptions(**options), open_model, as_json)
        if wrong:
            raise typer.Exit(1)

    flags = [flag for flag in option_parameters(RunOptions) if flag.name in _FLAGS]
    with_flags(doctor, flags)
    return doctor


async def _doctor(options: RunOptions, open_model: OpenModel, as_json: bool) -> bool:
    from dreamr.serving.doctor import Finding, ModelUnderTest, pair_checks, run_checks

    console = Console(highlight=False, soft_wrap=True)
    wrong = False

    def show(of: str, found: Finding) -> None:
        nonlocal wrong
        wrong |= found.state == "wrong"
        if as_json:
            print(json.dumps({"of": of, **asdict(found)}))
            return
        style = _STYLES[found.state]
        what = escape(" ".join(found.what.split()))
        console.print(f"  [{style}]{found.state:<9}[/] {found.about:<13} {what}")
        if found.fix is not None and found.state != "ok":
            console.print(f"{'':<26}[bold]try[/] {escape(found.fix)}")

    seen: dict[Role, ModelUnderTest] = {}
    roles: tuple[Role, ...] = ("target", "draft")
    for role in roles:
        async with AsyncExitStack() as stack:
            try:
                model = await open_model(options.source(role))
            except DreamrError as error:
                if not as_json:
                    console.print(f"[bold]{role}[/]")
                show(role, Finding("reached", "wrong", str(error)))
                continue
            stack.push_async_callback(model.engine.aclose)
            if not as_json:
                console.print(f"[bold]{role}[/] {escape(model.engine.name)}")
            seen[role] = ModelUnderTest(role, model)
            async for found in run_checks(seen[role]):
                show(role, found)
    if len(seen) == len(roles):
        if not as_json:
            console.print("[bold]together[/]")
        show("together", pair_checks(seen["target"], seen["draft"]))
    return wrong
