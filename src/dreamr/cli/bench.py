"""`dreamr bench`: methods against each other on the same problems and models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console

from dreamr._option_specs import OptionSpec, option_specs
from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._profiles import open_profile
from dreamr._provenance import provenance, weights_hash
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.progress import shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import OpenModel
from dreamr.evaluation.bench import (
    PRESETS,
    SET_BY_BENCH,
    BenchOptions,
    Folder,
    Plan,
    Progress,
    run_bench,
)

_SHARED = [name for name in option_specs(RunOptions) if name not in SET_BY_BENCH]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOptions:
    """Where a bench is."""

    out: Annotated[Path, OptionSpec("Folder of the bench; one that is there goes on.", "Output")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Benches that are compared."""

    folders: Annotated[
        tuple[Path, ...],
        OptionSpec("Folders of benches, the first as base.", "Arguments", positional=True),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneFolder:
    """A bench that is reported."""

    folder: Annotated[Path, OptionSpec("Folder of a bench.", "Arguments", positional=True)]


def bench_app(open_model: OpenModel) -> typer.Typer:
    """The commands of `dreamr bench`."""
    app = typer.Typer(no_args_is_help=True, help="Compare methods on the same models and problems.")
    options = Declared(OutOptions), Declared(BenchOptions), run_flags(_SHARED)
    app.command("run")(command(_run, *options, open_model=open_model))
    app.command("compare")(command(_compare, Declared(Folders)))
    app.command("report")(command(_report, Declared(OneFolder)))
    return app


def _run(place: OutOptions, options: BenchOptions, run: RunOptions, open_model: OpenModel) -> None:
    """Run every method on every problem, and report what came of it.

    Methods take turns problem by problem, each from a cold start. Interrupted, the same command
    goes on where it was.
    """
    import_plugins(options.plugin)
    plan = options.plan(run)
    total = plan.samples()
    profile = None
    if not place.out.exists():
        profile = open_profile(plan.options)
        for name in plan.methods:  # what cannot run leaves no folder behind
            PRESETS[name].options(plan.options).run_config(profile)
    with Folder(place.out, plan) as folder:
        if len(folder.done) < total:
            folder.begin_session(_session(plan))
        with shown(stderr_console(), total, "samples") as show:
            anyio.run(
                partial(
                    run_bench,
                    plan,
                    folder,
                    open_model=open_model,
                    profile=profile,
                    warm_up=0 if options.smoke else 2,
                    on_progress=lambda progress: show(progress.done, _what(progress)),
                )
            )
    _show_report(place.out)


def _compare(chosen: Folders) -> None:
    """Show the figures of several benches side by side."""
    from dreamr.evaluation.report import compare

    Console().print(compare(chosen.folders))


def _report(chosen: OneFolder) -> None:
    """Rebuild the figures, plots and page from the samples."""
    _show_report(chosen.folder)


def _show_report(folder: Path) -> None:
    from dreamr.evaluation.report import compare, write_report

    page = write_report(folder)
    Console().print(compare([folder]))
    print(page)


def _session(plan: Plan) -> dict[str, Any]:
    """Where the samples of this session come from."""
    options = plan.options
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
        "models": {
            "target": _model(options.target, options.source("target").location),
            "draft": _model(options.draft, options.source("draft").location),
        },
    }


def _model(named: str | None, found: str) -> dict[str, str | None]:
    """A model as it was named: where the embedded pair lies tells of a machine only."""
    return {"name": named or "embedded", "weights": weights_hash(Path(found))}


def _what(progress: Progress) -> str:
    sample = progress.last
    return f"{sample.task} {sample.index}, {sample.method}" if sample else "warming up"
