"""`dreamr train`: train a draft to write what its target accepts, in fewer tokens."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dreamr._media_options import READING
from dreamr._messages import short_path
from dreamr._numbers import three_digits
from dreamr._option_rules import DRAFT_REVISION_RULE, MODEL_RULES, RUN_RULES
from dreamr._option_specs import BadOption, OptionRules, OptionSpec, Unused, option_specs
from dreamr._options import MODEL_OPTIONS, RunOptions
from dreamr._output_files import Output
from dreamr._plugins import import_plugins
from dreamr._provenance import provenance
from dreamr.cli import interrupts
from dreamr.cli.epilog import ENVIRONMENT, epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.pair_flag import PairUse
from dreamr.cli.progress import Show, shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import Model, OpenModel, is_served
from dreamr.errors import Unsupported
from dreamr.evaluation.bench import check_trained
from dreamr.evaluation.tasks import Items, load
from dreamr.evaluation.tasks.options import task_names
from dreamr.gate import RatioGate
from dreamr.pairs import ChosenPair
from dreamr.speech import PairSpeech
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
from dreamr.training.options import FROM_TRACES_RULES, SAPO_RULES
from dreamr.training.problems import check_problems

_GUIDE = "Guide: docs/guides/training.md"
_EPILOGS = {
    "sapo": epilog(
        "dreamr train sapo --task docmath,story --out runs/sapo",
        "dreamr train sapo --draft ./draft --target ./target --out runs/sapo",
        'dreamr run "How many?" -a photo.jpg --draft runs/sapo/draft',
        notes=(
            "Options have environment variables, such as DREAMR_TRAIN_STEPS for --steps.",
            "An interrupted training continues if the same command is run again.",
            _GUIDE,
        ),
    ),
    "record": epilog(
        "dreamr train record --task docmath --out records.jsonl",
        "dreamr train record --method target --problems 5000 --out solutions.jsonl",
        notes=(ENVIRONMENT, _GUIDE),
    ),
    "from-traces": epilog(
        "dreamr train from-traces records.jsonl --out runs/sft",
        "dreamr train from-traces a.jsonl b.jsonl --method dpo --out runs/dpo",
        notes=(
            "Options have environment variables, such as DREAMR_TRAIN_BATCH for --batch.",
            "An interrupted training continues if the same command is run again.",
            _GUIDE,
        ),
    ),
    "measure": epilog(
        "dreamr train measure --draft runs/sapo/draft",
        "dreamr train measure --task docmath --problems 100 --out figures.json",
        notes=(ENVIRONMENT, _GUIDE),
    ),
    "curves": epilog(
        "dreamr train curves runs/sapo --out curves.png",
        "dreamr train curves runs/a runs/b --out compared.png",
        notes=(_GUIDE,),
    ),
}
_RULES = {
    "sapo": OptionRules(
        (
            *SAPO_RULES,
            Unused(
                ("target_device", "dtype"),
                lambda o: is_served(o.target),
                "if --target is a server URL",
            ),
            *MODEL_RULES,
        ),
        cases=lambda values: [{**values, "method": "fpsr"}],  # the target grades
    ),
    "record": OptionRules(RUN_RULES),
    "from-traces": OptionRules((*FROM_TRACES_RULES, DRAFT_REVISION_RULE)),
    "measure": OptionRules(MODEL_RULES),
    "curves": OptionRules(),
}
_SHOWN = ("loss", "reward", "acceptance", "right", "tokens", "steps", "preferred")
# Options of a run for a draft that solves problems alone and greedily, and a target that grades.
_OF_A_DRAFT = (
    *MODEL_OPTIONS, "threshold", "max_tokens", "seed",
    "transcriber", "transcriber_model", "hotwords",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOptions:
    """Options of the output of a training."""

    out: Annotated[
        Path, OptionSpec("Folder of the training. An interrupted one is continued.", "Output")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFiles:
    """Arguments of `train from-traces`."""

    records: Annotated[
        tuple[Path, ...],
        OptionSpec(
            "Files written by train record or run --record.",
            "Arguments",
            positional=True,
            reads="*",
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesOptions:
    """Arguments of `train curves`."""

    folders: Annotated[
        tuple[Path, ...],
        OptionSpec(
            "Folders of finished or running trainings.",
            "Arguments",
            positional=True,
            reads="[cl]o*",
        ),
    ]
    out: Annotated[Path, OptionSpec("PNG file to write the plot to.", "Output", writes=True)]


def train_app(open_model: OpenModel) -> typer.Typer:
    """Return the commands of `dreamr train`."""
    app = typer.Typer(no_args_is_help=True, help="Train a draft to write what its target accepts.")
    out, sapo = Declared(OutOptions), Declared(SapoOptions, "DREAMR_TRAIN_")
    from_traces = Declared(RecordFiles), out, Declared(RecordsOptions, "DREAMR_TRAIN_")
    record, measure = Declared(RecordOptions), Declared(MeasureOptions)

    of_sapo = PairUse({SapoOptions: sapo_values}, takes=("draft", "draft_revision"))

    def add(name: str, body: Callable[..., None], *declared: Declared, **given: Any) -> None:
        made = command(body, *declared, rules=_RULES[name], **given)
        app.command(name, epilog=_EPILOGS[name])(made)

    add("sapo", _sapo, out, sapo, pair=of_sapo, open_model=open_model)
    # A recording runs one method, whatever the load.
    of_runs = [n for n in option_specs(RunOptions) if n not in (*READING, "load_aware")]
    add("record", _record, record, run_flags(of_runs), open_model=open_model)
    add("from-traces", _from_traces, *from_traces)
    add("measure", _measure, measure, run_flags(_OF_A_DRAFT), open_model=open_model)
    add("curves", _curves, Declared(CurvesOptions))
    return app


def sapo_values(chosen: ChosenPair, is_given: Callable[[str], bool]) -> Mapping[str, Any]:
    """Return the options of a training by SAPO: the weights of the draft, and the target.

    Raises:
        BadOption: If the pair has no target, or no draft whose weights are known.
    """
    name, place = chosen.pair.name, short_path(chosen.file.path)
    if chosen.pair.target is None:
        raise BadOption(f"{name!r} of {place} has no target, which grades: add one")
    values = chosen.file.model_options(name, "target", chosen.addresses)
    values["target_device"] = values.pop("device", None) or "cpu"
    draft = chosen.file.models_of(name).get("draft")
    if draft is not None and draft.launch is not None:
        values |= {"draft": draft.launch.model, "draft_revision": draft.launch.revision}
    elif not is_given("draft"):
        raise BadOption(f"{place} does not name weights of the draft of {name!r}: pass --draft too")
    given = chosen.pair.given_options
    shared = ("threshold", "judge_prompt", "untrained")
    return values | {name: value for name, value in given.items() if name in shared}


def _record(options: RecordOptions, run: RunOptions, open_model: OpenModel) -> None:
    """Run a method on training problems and record the runs, for dreamr train from-traces.

    With --method target, the records are the target's own solutions.
    """
    from dreamr.training.recording import record

    import_plugins(options.plugin)
    names = task_names(options.task)
    check_trained(names, run, run.roles)
    given = training_problems(names, options.problems, run.seed)
    with shown(stderr_console(), len(given), "problems") as show:
        interrupts.run(
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
    """Measure how much of a draft's own solutions the target accepts.

    Each step is judged after the steps before it, as in training; rejected steps are not
    replaced. Drawn suites give other problems than for training; files give the same ones.
    """
    import_plugins(options.plugin)
    names = task_names(options.task)
    check_trained(names, run, ("target", "draft"))
    tasks = {name: load(name, limit=options.problems, seed=run.seed) for name in names}
    check_problems(tasks)
    with ExitStack() as stack:
        out = options.out
        file = None if out is None else stack.enter_context(Output(out))
        total = sum(map(len, tasks.values()))
        show = stack.enter_context(shown(stderr_console(), total, "problems"))
        found = interrupts.run(_measured, tasks, run, options.graders, open_model, show)
        if file is not None:
            text = json.dumps({"provenance": provenance(), "figures": found}, indent=2)
            file.write(text + "\n")
    Console().print(_table(found))


def _curves(options: CurvesOptions) -> None:
    """Plot the logs of trainings, with a panel for each figure and a color for each training."""
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
        speech = PairSpeech()
        stack.push_async_callback(speech.aclose)
        await speech.start(options.transcriber, options.transcriber_model)
        return await measure(
            tasks,
            draft,
            grader,
            most_tokens=options.max_tokens,
            speech=speech,
            hotwords=options.hotwords,
            on_done=show,
        )


def _table(found: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table("", *found, box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(found.values())):
        table.add_row(name.replace("_", " "), *(three_digits(row[name]) for row in found.values()))
    return table


def _from_traces(files: RecordFiles, place: OutOptions, options: RecordsOptions) -> None:
    """Train a draft on recorded runs, without a target.

    Method sft imitates the committed text; dpo prefers the target's steps to rejected ones.
    """
    with _quiet():
        module = _import("from_records")
        read = Records(files.records)
        total = module.steps_of(len(module.examples(read, options)), options)
        with shown(_console(), total, "steps") as show:
            model = module.train_from_records(
                read, options, place.out, on_step=lambda step, row: show(step, _figures(row))
            )
    _print_path(model)


def _sapo(place: OutOptions, options: SapoOptions, open_model: OpenModel) -> None:
    """Train a draft by reinforcement learning (SAPO), with the target as the grader.

    The reward rates right answers, accepted steps and short reasoning. The output folder has
    the trained draft in draft/, and log.csv with one row per step.
    """
    with _quiet():
        module = _import("sapo")
        import_plugins(options.plugin)
        # The draft learns the tasks; a target that did not would reject right steps.
        check_trained(task_names(options.task), options.run_options(), ["target"])
        with shown(_console(), options.steps, "steps") as show:
            model = module.train_sapo(
                options,
                place.out,
                open_model=open_model,
                on_step=lambda step, row: show(step, _figures(row)),
            )
    _print_path(model)


def _import(module: str) -> Any:
    try:
        return import_module(f"dreamr.training.{module}")
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"training needs {error.name}, which is not installed: pip install 'dreamr[train]'"
        ) from error


def _console() -> Console:
    """Return a console that is silent in all but the first of several training processes."""
    return stderr_console() if _is_first() else Console(quiet=True)


def _print_path(model: Path) -> None:
    if _is_first():
        print(model)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and warnings of the training libraries."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _figures(row: Mapping[str, float | None]) -> str:
    known = {name: value for name in _SHOWN if (value := row.get(name)) is not None}
    return ", ".join(f"{name} {three_digits(value)}" for name, value in known.items())
