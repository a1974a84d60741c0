"""`dreamr simulate`: what a machine that we do not have would do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dreamr._files import writing
from dreamr._option_specs import BadOption
from dreamr.evaluation.simulator import STEPWISE, BadScenario, Costs, Devices, Lengths, Scenario
from dreamr.evaluation.simulator.machines import Pair, named_pair
from dreamr.evaluation.simulator.tables import Row, compared, placed_pairs, replayed
from dreamr.schedules import Fallback, FinalAnswer, ScheduleConfig

_WIDTH = 120  # columns where the output is no terminal
_MODELS, _WORK, _MACHINE, _OUTPUT = "Models", "Work", "Devices", "What to show"
_PREDICTED = "A prediction, nothing measured"
_COMPARED = ("sequential", "lookahead", "fpsr")


def simulate_command(
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Method; repeat for more. Default: sequential, lookahead and fpsr.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    acceptance: Annotated[
        float,
        typer.Option(
            "--acceptance",
            "-a",
            help="Probability that a drafted step is accepted.",
            rich_help_panel=_MODELS,
        ),
    ] = 0.7,
    cost: Annotated[
        float,
        typer.Option(
            "--cost", "-c", help="A drafted step, in steps of the target.", rich_help_panel=_MODELS
        ),
    ] = 0.125,
    verdict: Annotated[
        float,
        typer.Option(
            "--verdict", "-v", help="A judge call, in steps of the target.", rich_help_panel=_MODELS
        ),
    ] = 0.05,
    length: Annotated[
        float,
        typer.Option(
            "--length",
            help="Mean tokens of a step.",
            rich_help_panel=_MODELS,
        ),
    ] = 24,
    spread: Annotated[
        float,
        typer.Option(
            "--spread",
            help="Standard deviation of that, over the mean; 0 is always the same.",
            rich_help_panel=_MODELS,
        ),
    ] = 0.6,
    steps: Annotated[
        int,
        typer.Option(
            "--steps",
            help="Steps of an answer.",
            rich_help_panel=_WORK,
        ),
    ] = 40,
    requests: Annotated[
        int,
        typer.Option(
            "--requests",
            help="How many are answered.",
            rich_help_panel=_WORK,
        ),
    ] = 25,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            help="How many of them side by side.",
            rich_help_panel=_WORK,
        ),
    ] = 1,
    window: Annotated[
        int,
        typer.Option(
            "--window",
            help="Drafted steps that may wait for their verdicts.",
            rich_help_panel=_WORK,
        ),
    ] = 4,
    fallback: Annotated[
        Fallback,
        typer.Option(
            "--fallback",
            help="When the target writes its own next step beside the draft.",
            rich_help_panel=_WORK,
        ),
    ] = "eager",
    resamples: Annotated[
        int,
        typer.Option(
            "--resamples",
            min=0,
            max=8,
            help="Other candidates for a rejected step, while the target writes its own.",
            rich_help_panel=_WORK,
        ),
    ] = 0,
    again: Annotated[
        float,
        typer.Option(
            "--again",
            help="Probability that one of these is accepted.",
            rich_help_panel=_MODELS,
        ),
    ] = 0.3,
    skipped_verification: Annotated[
        float,
        typer.Option(
            "--skipped-verification",
            help="Of the accepted steps, the share that the draft is sure of and the target need "
            "not read, as with `dreamr run --draft_confidence`; not for methods with a gate "
            "of their own.",
            rich_help_panel=_MODELS,
        ),
    ] = 0.0,
    answer: Annotated[
        FinalAnswer,
        typer.Option(
            "--final-answer",
            help="Who writes the final answer: target, or the draft, verified like any step.",
            rich_help_panel=_WORK,
        ),
    ] = "target",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            help="Seed of the draws.",
            rich_help_panel=_WORK,
        ),
    ] = 0,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="One device for both models.",
            rich_help_panel=_MACHINE,
        ),
    ] = False,
    turns: Annotated[
        bool,
        typer.Option(
            "--turns",
            help="A device does one thing at a time, judging first, as a local worker does.",
            rich_help_panel=_MACHINE,
        ),
    ] = False,
    slowdown: Annotated[
        float,
        typer.Option(
            "--slowdown",
            help="Of each further sequence beside one: 0 costs nothing, 1 takes its full time.",
            rich_help_panel=_MACHINE,
        ),
    ] = 0.0,
    target_devices: Annotated[
        int,
        typer.Option(
            "--target-devices",
            help="Devices that the target is spread over.",
            rich_help_panel=_MACHINE,
        ),
    ] = 1,
    efficiency: Annotated[
        float,
        typer.Option(
            "--efficiency",
            help="Of each of these, where there are several.",
            rich_help_panel=_MACHINE,
        ),
    ] = 0.8,
    pairs: Annotated[
        int,
        typer.Option(
            "--pairs",
            help="How many such sets of devices.",
            rich_help_panel=_MACHINE,
        ),
    ] = 1,
    pair: Annotated[
        str | None,
        typer.Option(
            "--pair",
            help="Named models, draft and target: 2B/32B, or 2B/32B:4 for weights of 4 bits.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu",
            help="Named devices for --pair; repeat for more. Default: H100.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    from_bench: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            help="Folder of a bench: run its traces again in virtual time.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Draw maps into --out, of --pair if given.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for the maps.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON instead of a table.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
) -> int:
    """Predict speed-ups: the methods' own schedules in virtual time.

    Without --pair and --replay, time is counted in steps of the target, and the closed form stands
    beside what the simulation gives. All of it is prediction.
    """
    if sweep != (out is not None):
        raise BadOption("--sweep and --out go together: where are the maps to be written?")
    if from_bench is not None and (sweep or pair is not None):
        raise BadOption("--replay stands alone: leave --sweep and --pair out")
    if gpu and pair is None:
        raise BadOption("--gpu needs a --pair of models, 2B/32B for example")
    with _bad_values():
        lengths = Lengths(length, spread)
        scenario = Scenario(
            Costs.relative(cost, verdict, length, length),
            options=_options(window, fallback, resamples, answer),
            devices=Devices(shared, turns, slowdown, target_devices, efficiency, pairs),
            draft_steps=lengths,
            target_steps=lengths,
            acceptance=acceptance,
            again=again,
            skipped_verification=skipped_verification,
            steps=steps,
            requests=requests,
            even=True,
            concurrency=concurrency,
            seed=seed,
        )
        named = [(name, named_pair(pair, name)) for name in gpu or ["H100"]] if pair else []
        unseen = f" ({skipped_verification:.0%} of these unseen)" if skipped_verification else ""
        methods = _known(method or (["fpsr"] if sweep else list(_COMPARED)))
        if out is not None:
            _draw(replace(scenario, method=methods[0]), verdict, pair, named, out)
        elif from_bench is not None:
            rows = replayed(from_bench, method)
            _show(rows, f"{from_bench}, replayed in virtual time", as_json)
        elif pair is not None:
            title = f"{pair}, acceptance {acceptance:g}{unseen}. {_PREDICTED}."
            _show(placed_pairs(named, scenario, methods), title, as_json)
        else:
            title = (
                f"Acceptance {acceptance:g}{unseen}, drafted step {cost:g}, verdict {verdict:g}."
            )
            rows = compared(scenario, methods, cost, verdict)
            _show(rows, f"{title} {_PREDICTED}.", as_json)
    return 0


def _options(
    window: int, fallback: Fallback, resamples: int, answer: FinalAnswer
) -> ScheduleConfig:
    try:
        return ScheduleConfig(
            window=window, fallback=fallback, resamples=resamples, final_answer=answer
        )
    except ValueError as error:
        raise BadScenario(str(error)) from error


def _known(methods: list[str]) -> list[str]:
    for name in methods:
        if name not in STEPWISE:
            raise BadScenario(f"{name!r} cannot be simulated; known: {', '.join(STEPWISE)}")
    return methods


@contextmanager
def _bad_values() -> Iterator[None]:
    """What cannot be simulated because of a flag's value is a matter of the command line."""
    try:
        yield
    except BadScenario as error:
        raise BadOption(str(error)) from error


def _draw(
    scenario: Scenario,
    verdict: float,
    pair: str | None,
    named: Sequence[tuple[str, Pair]],
    out: Path,
) -> None:
    from dreamr.evaluation.simulator import maps as maps

    def begin(what: str, cells: int) -> Callable[[], None]:
        task = progress.add_task(what, total=cells)
        return lambda: progress.advance(task)

    with (
        writing(out, "name another folder"),
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        out.mkdir(parents=True, exist_ok=True)
        if pair is not None:
            written = maps.draw_pair(scenario, pair, named, out, begin)
        else:
            written = maps.draw_maps(scenario, verdict, out, begin)
    for path in written:
        print(path)


_FORMATS = {"off by": "{:+.1%}", "problems": "{:d}"}
_SHARES = ("accepted", "draft busy", "target busy", "judge busy", "wasted")
_WHOLE = ("draft t/s", "target t/s")


def _show(rows: Sequence[Row], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"title": title, "rows": rows}, indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    table = Table(
        title=title, title_justify="left", title_style="dim", box=SIMPLE_HEAD, padding=(0, 1)
    )
    for name in rows[0]:
        words = isinstance(rows[0][name], str)
        style = "bold" if name in ("speed-up", "predicted") else None
        table.add_column(name, justify="left" if words else "right", style=style, no_wrap=words)
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    console.print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if name in _FORMATS:
        return _FORMATS[name].format(value)
    if name in _SHARES:
        return f"{value:.1%}"
    return f"{value:.0f}" if name in _WHOLE else f"{value:.2f}"
