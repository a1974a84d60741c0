"""Tables of the simulator: methods compared, pairs on devices, runs replayed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dreamr.evaluation.simulator import closed_loop as closed
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import BadScenario, Devices
from dreamr.evaluation.simulator.fitting import MethodTraits, fit
from dreamr.evaluation.simulator.machines import ModelPair
from dreamr.evaluation.simulator.predictions import predict
from dreamr.evaluation.simulator.replaying import replay
from dreamr.evaluation.simulator.scenario import STEPWISE, Scenario, simulate
from dreamr.schedules import ScheduleConfig

if TYPE_CHECKING:
    from dreamr._options import RunOptions
    from dreamr.evaluation.bench import Sample

Row: TypeAlias = dict[str, Any]

_TYPICAL = 15  # tokens of a step, for which the time of a judge call is shown


@dataclass(frozen=True, slots=True)
class Replays:
    """Replayed runs of a bench.

    Attributes:
        rows: One row per method.
        left_out: Why the other methods that work on whole steps could not be replayed, by name.
    """

    rows: Sequence[Row]
    left_out: Mapping[str, str]


def compared(
    scenario: Scenario, methods: Sequence[str], draft_cost: float, judge_cost: float
) -> list[Row]:
    """Return one row per method, with the closed form where there is one.

    Args:
        scenario: The scenario, whose method is replaced.
        methods: Names of the methods.
        draft_cost: Cost of a drafted step in target-step units, for the closed forms.
        judge_cost: Cost of a judge call in target-step units, for the closed forms.
    """
    alone = simulate(scenario.alone())
    rows = []
    for method in methods:
        outcome = simulate(replace(scenario, method=method))
        form = closed.of_method(
            method, scenario.acceptance, draft_cost, judge_cost, scenario.options.window
        )
        formal = scenario.devices == Devices() and not scenario.skipped_verification
        rows.append(
            {
                "method": method,
                "speed-up": alone.seconds / outcome.seconds,
                "closed form": form if formal else None,
                "accepted": outcome.accepted,
                "draft busy": outcome.busy("draft"),
                "target busy": outcome.busy("target"),
                "judge busy": outcome.busy("judge"),
                "wasted": outcome.wasted,
                "latency": outcome.latency,
            }
        )
    return rows


def placed_pairs(
    named: Sequence[tuple[str, ModelPair]], scenario: Scenario, methods: Sequence[str]
) -> list[Row]:
    """Return one row per device, method and placement of a pair.

    Args:
        named: The pair on each kind of device, with the name of the device.
        scenario: The scenario, whose method, costs and devices are replaced.
        methods: Names of the methods.

    Raises:
        BadScenario: If the pair does not fit on any number of the devices.
    """
    rows = []
    for name, pair in named:
        for method in methods:
            for placed in predict(pair, replace(scenario, method=method)):
                costs, tokens = placed.costs, scenario.target_steps.mean
                rows.append(
                    {
                        "gpu": name,
                        "devices": placed.placement.label,
                        "method": method,
                        "draft t/s": 1 / costs.draft,
                        "target t/s": 1 / costs.target,
                        "c": costs.draft / costs.target,
                        "v": costs.judging(1, round(tokens)) / (tokens * costs.target),
                        "speed-up": placed.speedup,
                        "equal devices": placed.equal_devices_speedup,
                        "seconds": placed.outcome.latency,
                        "requests/min": 60 * placed.outcome.requests_a_second,
                    }
                )
    if not rows:
        raise BadScenario("the target does not fit on 8 of these devices: choose another GPU")
    return rows


def replayed(folder: Path, methods: Sequence[str] = ()) -> Replays:
    """Replay the runs of a bench, one row per method.

    Only methods that work on whole steps and runs at concurrency 1 are replayed. A method without
    a run to replay, such as in an unfinished bench, is left out.

    Args:
        folder: Folder of the bench.
        methods: Names in the bench or names of schedules; if empty, all methods.

    Raises:
        BadScenario: If the samples or the options of the bench cannot be read, or none of them can
            be replayed.
    """
    by_method = _by_method(sample for sample in _samples(folder) if sample.concurrency == 1)
    target = by_method.pop("target", [])
    if not target:
        raise BadScenario(
            f"{folder} has no samples of 'target' at concurrency 1, the baseline of a replay: "
            "run the bench with the method target too"
        )
    rows, left_out, options = [], {}, _options(folder)
    for label, samples in by_method.items():
        known = _schedule(label, options)
        if known is None or (methods and label not in methods and known[0] not in methods):
            continue
        try:
            found = replay(target, samples, *known)
        except BadScenario as error:
            left_out[label] = str(error)
            continue
        costs = found.costs
        rows.append(
            {
                "method": label,
                "problems": found.problems,
                "measured": found.measured_speedup,
                "predicted": found.speedup,
                "off by": found.error,
                "ideal": found.ideal_speedup,
                "efficiency": found.efficiency,
                "draft ms": 1000 * costs.draft,
                "target ms": 1000 * costs.target,
                "judge ms": 1000 * costs.judging(1, _TYPICAL),
            }
        )
    if left_out and not rows:
        raise BadScenario(next(iter(left_out.values())))
    if not rows:
        raise BadScenario(
            f"{folder} has no samples to replay: these must be of a method that works on whole "
            "steps, at concurrency 1"
        )
    return Replays(rows, left_out)


def fitted_costs(folder: Path, method: str = "fpsr") -> Costs:
    """Return the costs of the engines that a bench measured, at concurrency 1.

    Args:
        folder: Folder of the bench, with samples of 'target' and of the method.
        method: Name of a method in the bench.

    Raises:
        BadScenario: If the samples or the options of the bench cannot be read, or it lacks one of
            the methods.
    """
    by_method = _by_method(sample for sample in _samples(folder) if sample.concurrency == 1)
    known = _schedule(method, _options(folder))
    if known is None or not by_method.get("target") or not by_method.get(method):
        raise BadScenario(
            f"{folder} has no samples of 'target' and {method!r} at concurrency 1: run the bench "
            f"with --method target --method {method}"
        )
    return fit(by_method["target"], by_method[method], MethodTraits.of(*known)).costs


def ideal_seconds(
    samples: Iterable[Sample], options: RunOptions | None = None
) -> dict[tuple[str, str, int], float]:
    """Return mean ideal seconds per problem, by task, method and concurrency.

    Ideal seconds count the engines' own work alone, as in `Prediction.ideal_seconds`. Methods that
    do not work on whole steps, runs at a concurrency above 1, and tasks on which no run of a method
    can be replayed are left out.

    Args:
        samples: Samples of a bench.
        options: Options of the bench, see `dreamr.evaluation.bench.schedule_options`; by default
            those of a bench without any.
    """
    by_method = _by_method(sample for sample in samples if sample.concurrency == 1)
    target = by_method.pop("target", [])
    found = {}
    for label, own in by_method.items():
        known = _schedule(label, options)
        if known is None or not target:
            continue
        try:
            fitted = fit(target, own, MethodTraits.of(*known))
        except BadScenario:
            continue
        for task in {sample.task for sample in own}:
            chosen = [sample for sample in own if sample.task == task]
            with suppress(BadScenario):
                prediction = replay(target, chosen, *known, fitted=fitted)
                found[task, label, 1] = prediction.ideal_seconds / prediction.problems
    return found


def works_on_steps(label: str) -> bool:
    """Check whether a method of a bench works on whole steps, so that its runs can be replayed."""
    return _schedule(label, None) is not None


def _by_method(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.method, []).append(sample)
    return found


def _samples(folder: Path) -> list[Sample]:
    from dreamr.evaluation.bench import BenchError, read_samples  # only replays need it

    try:
        return read_samples(folder)
    except BenchError as error:
        raise BadScenario(str(error)) from error


def _options(folder: Path) -> RunOptions:
    from dreamr._option_specs import BadOption
    from dreamr.evaluation.bench import CONFIG, BenchError, read_config, schedule_options

    try:
        return schedule_options(read_config(folder) or {})
    except BenchError as error:
        raise BadScenario(str(error)) from error
    except BadOption as error:
        raise BadScenario(f"{folder / CONFIG}: {error}") from error


def _schedule(label: str, options: RunOptions | None) -> tuple[str, ScheduleConfig] | None:
    """Return the schedule of a bench's method and its options, or None if it cannot be replayed.

    Args:
        label: Name of the method.
        options: Options of the bench; None for the default ones.
    """
    from dreamr._options import RunOptions
    from dreamr.evaluation.bench import PRESETS

    if label not in PRESETS:
        return None
    config = PRESETS[label].replayed(options or RunOptions())
    speculates = config.method in STEPWISE and config.method not in ("draft", "target")
    return (config.method, config.options) if speculates else None
