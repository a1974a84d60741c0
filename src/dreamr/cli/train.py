"""`dreamr train`: make a draft write what its target accepts, in fewer words."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dreamr._option_specs import OptionSpec
from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._provenance import provenance
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.outputs import Output
from dreamr.cli.progress import Show, shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import Model, OpenModel
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks import Items, load
from dreamr.evaluation.tasks.options import task_names
from dreamr.gate import RatioGate
from dreamr.steps import Role
from dreamr.training import (
    Grader,
    MeasureOptions,
    RecordOptions,
    Records,
    RecordsOptions,
    SapoOptions,
    draw_curves,
    measure,
    training_problems,
)

_SHOWN = ("loss", "reward", "acceptance", "right", "tokens", "steps", "preferred")
# A draft that writes alone, greedily, has use for no more of the options of a run.
_OF_A_DRAFT = (
    "threshold", "target", "draft", "target_model", "draft_model", "judge_prompt", "answer_marker",
    "device", "draft_device", "threads", "max_tokens", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOptions:
    """Where a training is."""

    out: Annotated[
        Path, OptionSpec("Folder of the training; one that was interrupted goes on.", "Output")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFiles:
    """What a training from records reads."""

    records: Annotated[
        tuple[Path, ...],
        OptionSpec("Files of train record or run --record.", "Arguments", positional=True),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesOptions:
    """What is drawn, and where to."""

    folders: Annotated[
        tuple[Path, ...],
        OptionSpec("Folders of finished or running trainings.", "Arguments", positional=True),
    ]
    out: Annotated[Path, OptionSpec("The picture, a PNG file.", "Output")]


def train_app(open_model: OpenModel) -> typer.Typer:
    """The commands of `dreamr train`."""
    app = typer.Typer(no_args_is_help=True, help="Train a draft to write what its target accepts.")
    out, sapo = Declared(OutOptions), Declared(SapoOptions, "DREAMR_TRAIN_")
    from_traces = Declared(RecordFiles), out, Declared(RecordsOptions, "DREAMR_TRAIN_")
    record, measure = Declared(RecordOptions), Declared(MeasureOptions)
    app.command("sapo")(command(_sapo, out, sapo, open_model=open_model))
    app.command("record")(command(_record, record, run_flags(), open_model=open_model))
    app.command("from-traces")(command(_from_traces, *from_traces))
    app.command("measure")(
        command(_measure, measure, run_flags(_OF_A_DRAFT), open_model=open_model)
    )
    app.command("curves")(command(_curves, Declared(CurvesOptions)))
    return app


def _record(options: RecordOptions, run: RunOptions, open_model: OpenModel) -> None:
    """Run a method on the problems to train on, and keep what it leaves for from-traces.

    With --method target the records are the target's own solutions.
    """
    from dreamr.training.recording import record

    names = task_names(options.task)
    given = training_problems(names, options.problems, run.seed, options.plugin)
    with shown(stderr_console(), len(given), "problems") as show:
        anyio.run(
            partial(
                record,
                given,
                options.out,
                run,
                most=options.concurrency,
                open_model=open_model,
                on_done=show,
            )
        )


def _measure(options: MeasureOptions, run: RunOptions, open_model: OpenModel) -> None:
    """Let a draft solve problems alone, and show how much of it the target accepts.

    The problems of drawn suites are others than those to train on; those of files are the same.

    Each step is judged after those before it, as in training; nothing is written in its place.
    """
    import_plugins(options.plugin)
    names = task_names(options.task)
    tasks = {name: load(name, limit=options.problems, seed=run.seed) for name in names}
    with ExitStack() as stack:
        out = options.out
        file = None if out is None else stack.enter_context(Output(out))
        total = sum(map(len, tasks.values()))
        show = stack.enter_context(shown(stderr_console(), total, "problems"))
        found = anyio.run(_measured, tasks, run, options.graders, open_model, show)
        if file is not None:
            text = json.dumps({"provenance": provenance(), "figures": found}, indent=2)
            file.write(text + "\n")
    Console().print(_table(found))


def _curves(options: CurvesOptions) -> None:
    """Draw the curves of trainings, one panel a figure, one colour a training."""
    draw_curves(options.folders, options.out)
    print(options.out)


async def _measured(
    tasks: Mapping[str, Items],
    options: RunOptions,
    graders: int,
    open_model: OpenModel,
    show: Show,
) -> dict[str, dict[str, float]]:
    async with AsyncExitStack() as stack:

        async def opened(role: Role) -> Model:
            model = await open_model(options.source(role))
            stack.push_async_callback(model.engine.aclose)
            return model

        draft = await opened("draft")
        targets = [await opened("target") for _ in range(graders)]
        grader = Grader(
            [model.engine for model in targets],
            RatioGate(options.threshold),
            targets[0].step_format,
            references=False,
        )
        return await measure(tasks, draft, grader, most_tokens=options.max_tokens, on_done=show)


def _table(found: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table("", *found, box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(found.values())):
        table.add_row(name.replace("_", " "), *(f"{row[name]:.3g}" for row in found.values()))
    return table


def _from_traces(files: RecordFiles, place: OutOptions, options: RecordsOptions) -> None:
    """Train a draft on what runs have left, without a target: overnight, on your own traffic.

    sft imitates what was committed, dpo prefers the target's steps to the refused ones.
    """
    with _quiet():
        module = _import("from_records")
        read = Records(files.records)
        total = module.steps_of(len(module.examples(read, options)), options)
        with shown(_console(), total, "steps") as show:
            model = module.train_from_records(
                read, options, place.out, on_step=lambda step, row: show(step, _figures(row))
            )
    _tell(model)


def _sapo(place: OutOptions, options: SapoOptions, open_model: OpenModel) -> None:
    """Train a draft by reinforcement learning (SAPO): the target grades what it writes.

    The reward is right answers, accepted steps and short reasoning. Interrupted, the same
    command goes on from the last checkpoint; log.csv in the folder has a row a step. At the
    end DIR/draft holds the trained draft.
    """
    with _quiet():
        module = _import("sapo")
        with shown(_console(), options.steps, "steps") as show:
            model = module.train_sapo(
                options,
                place.out,
                open_model=open_model,
                on_step=lambda step, row: show(step, _figures(row)),
            )
    _tell(model)


def _import(module: str) -> Any:
    try:
        return import_module(f"dreamr.training.{module}")
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"training needs {error.name}, which is not installed: pip install 'dreamr[train]'"
        ) from error


def _console() -> Console:
    """Of several processes that train together, one speaks."""
    return stderr_console() if _speaks() else Console(quiet=True)


def _tell(model: Path) -> None:
    if _speaks():
        print(model)


def _speaks() -> bool:
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries underneath talk about themselves; people have asked about their training."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _figures(row: Mapping[str, float | None]) -> str:
    known = {name: row[name] for name in _SHOWN if row.get(name) is not None}
    return ", ".join(f"{name} {value:.3g}" for name, value in known.items())
