"""`dreamr bench`: methods against each other on the same problems and models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._profiles import open_profile
from dreamr._provenance import provenance, weights_hash
from dreamr.cli.flags import option_parameters, with_flags
from dreamr.cli.progress import shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import OpenModel
from dreamr.evaluation.bench import PRESETS, STANDARD, Folder, Plan, Progress, run_bench
from dreamr.evaluation.tasks import BENCHMARKS, default_tasks

_SET_BY_METHOD = ("method", "window", "score", "fallback", "deterministic", "seed")
_SHARED = [p for p in option_parameters(RunOptions) if p.name not in _SET_BY_METHOD]
_TASK = f"Repeat for more: an installed task, {', '.join(BENCHMARKS)}, or a parquet file."
_METHOD = f"Repeat for more: {', '.join(PRESETS)}."


def bench_app(open_model: OpenModel) -> typer.Typer:
    """The commands of `dreamr bench`."""
    app = typer.Typer(no_args_is_help=True, help="Compare methods on the same models and problems.")
    app.command("run")(_run_command(open_model))
    app.command("compare")(_compare)
    app.command("report")(_report)
    return app


def _run_command(open_model: OpenModel) -> Callable[..., None]:
    def run(
        out: Annotated[
            Path, typer.Option("--out", help="Folder of the bench; one that is there goes on.")
        ],
        task: Annotated[
            list[str] | None,
            typer.Option("--task", help=_TASK, show_default="all that are installed"),
        ] = None,
        method: Annotated[
            list[str] | None,
            typer.Option("--method", help=_METHOD, show_default=", ".join(STANDARD)),
        ] = None,
        limit: Annotated[int, typer.Option("--limit", help="Problems of each task.")] = 100,
        seed: Annotated[
            int,
            typer.Option("--seed", help="Of the problems, the turns of the methods, the draws."),
        ] = 0,
        concurrency: Annotated[
            str, typer.Option("--concurrency", help="Problems side by side; 1,4,16 for several.")
        ] = "1",
        source: Annotated[
            list[str] | None,
            typer.Option("--source", help="TASK=PATH: files of a published task; else the hub."),
        ] = None,
        plugin: Annotated[
            str | None,
            typer.Option("--plugin", help="Python modules to import first: they add tasks."),
        ] = None,
        smoke: Annotated[
            bool,
            typer.Option("--smoke", help="Two problems a task, no warm-up: does everything work?"),
        ] = False,
        **options: Any,
    ) -> None:
        """Run every method on every problem, and report what came of it.

        Methods take turns problem by problem, each from a cold start. Interrupted, the same command
        goes on where it was.
        """
        import_plugins(plugin)
        plan = Plan(
            tuple(task or default_tasks()),
            tuple(method or STANDARD),
            2 if smoke else limit,
            seed,
            _numbers(concurrency),
            RunOptions(**options, seed=seed),
            dict(map(_source, source or ())),
        )
        console, total = stderr_console(), plan.samples()
        if not out.exists():
            profile = open_profile(plan.options)
            for name in plan.methods:  # what cannot run leaves no folder behind
                PRESETS[name].options(plan.options).run_config(profile)
        with Folder(out, plan) as folder:
            if len(folder.done) < total:
                folder.begin_session(_session(plan))
            with shown(console, total, "samples") as show:
                anyio.run(
                    partial(
                        run_bench,
                        plan,
                        folder,
                        open_model=open_model,
                        warm_up=0 if smoke else 2,
                        on_progress=lambda progress: show(progress.done, _what(progress)),
                    )
                )
        _report(out)

    with_flags(run, _SHARED)
    return run


def _compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of benches, the first as base.")],
) -> None:
    """Show the figures of several benches side by side."""
    from dreamr.evaluation.report import compare

    Console().print(compare(folders))


def _report(
    folder: Annotated[Path, typer.Argument(help="Folder of a bench.")],
) -> None:
    """Make figures, plots and the page anew from the samples."""
    from dreamr.evaluation.report import compare, write_report

    page = write_report(folder)
    Console().print(compare([folder]))
    print(page)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise BadOption(f"concurrency {text!r} is no list of numbers, as 1,4,16 is one") from None


def _source(text: str) -> tuple[str, str]:
    task, given, path = text.partition("=")
    if not given or task not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise BadOption(f"source {text!r}: write TASK=PATH, with a task of {known}")
    return task, path


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
