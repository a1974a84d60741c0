"""`dreamr train`: make a draft write what its target accepts, in fewer words."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import anyio
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._provenance import provenance
from dreamr.cli.flags import option_parameters, with_flags
from dreamr.cli.outputs import Output
from dreamr.cli.progress import Show, shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import Model, OpenModel
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks import Items, load
from dreamr.gate import RatioGate
from dreamr.trace import Role
from dreamr.training import (
    Grader,
    Records,
    RecordsOptions,
    SapoOptions,
    draw_curves,
    measure,
    task_names,
    training_problems,
)

_SHOWN = ("loss", "reward", "acceptance", "right", "tokens", "steps", "preferred")
# A draft that writes alone, greedily, has use for no more of the options of a run.
_OF_A_DRAFT = (
    "threshold", "target", "draft", "target_model", "draft_model", "judge_prompt", "answer_marker",
    "device", "draft_device", "threads", "max_tokens", "seed",
)  # fmt: skip
_Task: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Tasks, with commas between them; also those that a plugin adds.",
        show_default="all that are installed",
    ),
]

Out = Annotated[
    Path, typer.Option("--out", help="Folder of the training; one that was interrupted goes on.")
]


def train_app(open_model: OpenModel) -> typer.Typer:
    """The commands of `dreamr train`."""
    app = typer.Typer(no_args_is_help=True, help="Train a draft to write what its target accepts.")
    app.command("sapo")(_sapo_command(open_model))
    app.command("record")(_record_command(open_model))
    app.command("from-traces")(_from_traces_command())
    app.command("measure")(_measure_command(open_model))
    app.command("curves")(_curves)
    return app


def _record_command(open_model: OpenModel) -> Callable[..., None]:
    def record(
        out: Annotated[
            Path, typer.Option("--out", help="File of records; one that is there goes on.")
        ],
        task: _Task = None,
        problems: Annotated[
            int, typer.Option("--problems", "--limit", min=1, help="Problems of each task.")
        ] = 1000,
        concurrency: Annotated[
            int, typer.Option("--concurrency", min=1, help="Problems side by side.")
        ] = 8,
        plugin: Annotated[
            str | None, typer.Option("--plugin", help="Python modules to import first.")
        ] = None,
        **options: Any,
    ) -> None:
        """Run a method on the problems to train on, and keep what it leaves for from-traces.

        With --method target the records are the target's own solutions.
        """
        from dreamr.training.recording import record

        chosen = RunOptions(**options)
        given = training_problems(task_names(task), problems, chosen.seed, plugin)
        with shown(stderr_console(), len(given), "problems") as show:
            anyio.run(
                partial(
                    record,
                    given,
                    out,
                    chosen,
                    most=concurrency,
                    open_model=open_model,
                    on_done=show,
                )
            )

    with_flags(record, option_parameters(RunOptions))
    return record


def _measure_command(open_model: OpenModel) -> Callable[..., None]:
    def measure(
        task: _Task = None,
        limit: Annotated[int, typer.Option("--limit", min=1, help="Problems of each task.")] = 300,
        graders: Annotated[
            int,
            typer.Option("--graders", min=1, help="Copies of the target that grade side by side."),
        ] = 2,
        plugin: Annotated[
            str | None, typer.Option("--plugin", help="Python modules to import first.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option("--out", help="Write the figures to this JSON file too.")
        ] = None,
        **options: Any,
    ) -> None:
        """Let a draft solve problems alone, and show how much of it the target accepts.

        The problems of drawn suites are others than those to train on; those of files are the same.

        Each step is judged after those before it, as in training; nothing is written in its place.
        """
        chosen = RunOptions(**options)
        import_plugins(plugin)
        tasks = {name: load(name, limit=limit, seed=chosen.seed) for name in task_names(task)}
        with ExitStack() as stack:
            file = None if out is None else stack.enter_context(Output(out))
            total = sum(map(len, tasks.values()))
            show = stack.enter_context(shown(stderr_console(), total, "problems"))
            found = anyio.run(_measure, tasks, chosen, graders, open_model, show)
            if file is not None:
                text = json.dumps({"provenance": provenance(), "figures": found}, indent=2)
                file.write(text + "\n")
        Console().print(_measured(found))

    flags = [flag for flag in option_parameters(RunOptions) if flag.name in _OF_A_DRAFT]
    with_flags(measure, flags)
    return measure


def _curves(
    folders: Annotated[list[Path], typer.Argument(help="Folders of trainings, done or under way.")],
    out: Annotated[Path, typer.Option("--out", help="The picture, a PNG file.")],
) -> None:
    """Draw the curves of trainings, one panel a figure, one colour a training."""
    draw_curves(folders, out)
    print(out)


async def _measure(
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


def _measured(found: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table("", *found, box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(found.values())):
        table.add_row(name.replace("_", " "), *(f"{row[name]:.3g}" for row in found.values()))
    return table


def _from_traces_command() -> Callable[..., None]:
    def from_traces(
        records: Annotated[
            list[Path],
            typer.Argument(help="Files of train record or run --record."),
        ],
        out: Out,
        **options: Any,
    ) -> None:
        """Train a draft on what runs have left, without a target: overnight, on your own traffic.

        sft imitates what was committed, dpo prefers the target's steps to the refused ones.
        """
        chosen = RecordsOptions(**options)
        with _quiet():
            module = _import("from_records")
            read = Records(records)
            total = module.steps_of(len(module.examples(read, chosen)), chosen)
            with shown(_console(), total, "steps") as show:
                model = module.train_from_records(
                    read, chosen, out, on_step=lambda step, row: show(step, _figures(row))
                )
        _tell(model)

    with_flags(from_traces, option_parameters(RecordsOptions, "DREAMR_TRAIN_"))
    return from_traces


def _sapo_command(open_model: OpenModel) -> Callable[..., None]:
    def sapo(out: Out, **options: Any) -> None:
        """Train a draft by reinforcement learning (SAPO): the target grades what it writes.

        The reward is right answers, accepted steps and short reasoning. Interrupted, the same
        command goes on from the last checkpoint; log.csv in the folder has a row a step. At the
        end DIR/draft holds the trained draft.
        """
        chosen = SapoOptions(**options)
        with _quiet():
            module = _import("sapo")
            with shown(_console(), chosen.steps, "steps") as show:
                model = module.train_sapo(
                    chosen,
                    out,
                    open_model=open_model,
                    on_step=lambda step, row: show(step, _figures(row)),
                )
        _tell(model)

    with_flags(sapo, option_parameters(SapoOptions, "DREAMR_TRAIN_"))
    return sapo


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
