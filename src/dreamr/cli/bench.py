"""`dreamr bench`: compare methods on the same models and problems."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dreamr._option_rules import RUN_RULES
from dreamr._option_specs import OptionRules, OptionSpec, option_specs
from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._profiles import open_profile
from dreamr._provenance import provenance, weights_hash
from dreamr.cli import interrupts
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.progress import shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import ModelSource, OpenModel
from dreamr.evaluation.bench import (
    PRESETS,
    SET_BY_BENCH,
    BenchOptions,
    Folder,
    Plan,
    Progress,
    check_trained,
    read_config,
    run_bench,
)
from dreamr.evaluation.bench.options import BENCH_RULES, bench_cases

_SHARED = [name for name in option_specs(RunOptions) if name not in SET_BY_BENCH]
_RULES = OptionRules((*BENCH_RULES, *RUN_RULES), cases=bench_cases)
_GUIDE = "Guide: docs/guides/benchmarks.md"
_RUN_EPILOG = epilog(
    "dreamr bench run --smoke --out runs/smoke",
    "dreamr bench run --method target --method fpsr --limit 50 --out runs/b",
    "dreamr bench run --task mathverse --source mathverse=data/ --out runs/m",
    notes=(
        "An interrupted bench continues if the same command is run again.",
        _GUIDE,
    ),
)
_COMPARE_EPILOG = epilog("dreamr bench compare runs/before runs/after", notes=(_GUIDE,))
_REPORT_EPILOG = epilog("dreamr bench report runs/b", notes=(_GUIDE,))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOptions:
    """Options of the output of `bench run`."""

    out: Annotated[Path, OptionSpec("Folder of the bench. An existing one is continued.", "Output")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Arguments of `bench compare`."""

    folders: Annotated[
        tuple[Path, ...],
        OptionSpec("Folders of benches; the first is the baseline.", "Arguments", positional=True),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneFolder:
    """Arguments of `bench report`."""

    folder: Annotated[Path, OptionSpec("Folder of a bench.", "Arguments", positional=True)]


def bench_app(open_model: OpenModel) -> typer.Typer:
    """Return the commands of `dreamr bench`."""
    app = typer.Typer(no_args_is_help=True, help="Compare methods on the same models and problems.")
    options = Declared(OutOptions), Declared(BenchOptions), run_flags(_SHARED)
    run = command(_run, *options, rules=_RULES, open_model=open_model)
    app.command("run", epilog=_RUN_EPILOG)(run)
    app.command("compare", epilog=_COMPARE_EPILOG)(command(_compare, Declared(Folders)))
    app.command("report", epilog=_REPORT_EPILOG)(command(_report, Declared(OneFolder)))
    return app


def _run(place: OutOptions, options: BenchOptions, run: RunOptions, open_model: OpenModel) -> None:
    """Run methods on problems and report speed and accuracy.

    Methods alternate problem by problem, each without cached text of the others.
    """
    import_plugins(options.plugin)
    plan = options.plan(run)
    if place.out.is_dir():
        plan = plan.on_devices_of(read_config(place.out) or {})
    check_trained(plan.tasks, plan.options, plan.roles, sources=plan.sources)
    profile = None
    if not place.out.exists():
        profile = open_profile(plan.options)
        for name in plan.methods:  # a bench that cannot run must not leave a folder
            PRESETS[name].options(plan.options).run_config(profile)
    with Folder(place.out, plan) as folder:
        if folder.left:
            folder.begin_session(_session(plan))
        with shown(stderr_console(), len(folder.planned), "samples") as show:
            interrupts.run(
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
    """Show the results of several benches side by side."""
    from dreamr.evaluation.report import compare

    Console().print(compare(chosen.folders))


def _report(chosen: OneFolder) -> None:
    """Rebuild the report of a bench from its samples."""
    _show_report(chosen.folder)


def _show_report(folder: Path) -> None:
    from dreamr.evaluation.report import compare, write_report

    page = write_report(folder)
    Console().print(compare([folder]))
    print(page)


def _session(plan: Plan) -> dict[str, Any]:
    """Return the provenance of the samples of this session."""
    options = plan.options
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
        "models": {
            role: _model(getattr(options, role), options.source(role))
            for role in sorted(plan.roles, reverse=True)
        },
    }


def _model(named: str | None, source: ModelSource) -> dict[str, str | None]:
    """Return a model by its given name: the path of the bundled one is of no use elsewhere."""
    return {
        "name": named or "embedded",
        "revision": source.revision,
        "weights": weights_hash(Path(source.location)),
    }


def _what(progress: Progress) -> str:
    sample = progress.last
    return f"{sample.task} {sample.index}, {sample.method}" if sample else "warming up"
