"""Options of a simulation, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from dreamr._option_specs import (
    BadOption,
    Conflict,
    OptionSpec,
    Unused,
    check_options,
    option_specs,
)
from dreamr._options import RunOptions
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.machines import ModelPair, named_pair
from dreamr.evaluation.simulator.scenario import STEPWISE, Scenario
from dreamr.evaluation.simulator.script import Lengths
from dreamr.schedules import GATED_METHODS

_MODELS, _WORK, _MACHINE, _OUTPUT = "Models", "Work", "Devices", "What to show"
# Defaults of a simulation are those of its parts.
_SCENARIO, _DEVICES = Scenario(Costs.relative(1, 1)), Devices()
_COMPARED = ("sequential", "lookahead", "fpsr")
_GPU = "H100"

# Options of a run that a simulation uses.
RUN_OPTIONS = ("window", "fallback", "resamples", "final_answer", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateOptions:
    """Options of a simulation and its output. `RunOptions` configure the schedules.

    Raises:
        BadOption: If a value is invalid or options contradict each other.
    """

    method: Annotated[
        tuple[str, ...],
        OptionSpec(
            f"Method: {', '.join(STEPWISE)}. Repeatable.",
            _WORK,
            shown=f"{', '.join(_COMPARED)}; maps: fpsr",
        ),
    ] = ()
    steps: Annotated[int, OptionSpec("Steps of a request.", _WORK, 1)] = _SCENARIO.steps
    requests: Annotated[int, OptionSpec("Number of requests.", _WORK, 1)] = _SCENARIO.requests
    concurrency: Annotated[int, OptionSpec("Requests at the same time.", _WORK, 1)] = (
        _SCENARIO.concurrency
    )
    acceptance: Annotated[
        float,
        OptionSpec(
            "Probability that a drafted step is accepted, 0 to 1.",
            _MODELS,
            0,
            1,
            flags=("--acceptance", "-a"),
        ),
    ] = _SCENARIO.acceptance
    resample_acceptance: Annotated[
        float,
        OptionSpec("Probability that a resampled candidate is accepted, 0 to 1.", _MODELS, 0, 1),
    ] = _SCENARIO.resample_acceptance
    skipped_verification: Annotated[
        float,
        OptionSpec(
            "Share of accepted steps that need no verification, 0 to 1.",
            _MODELS,
            0,
            1,
        ),
    ] = _SCENARIO.skipped_verification
    draft_cost: Annotated[
        float,
        OptionSpec(
            "Cost of a drafted step, in target steps, above 0.",
            _MODELS,
            flags=("--draft-cost", "-c"),
        ),
    ] = 0.125
    judge_cost: Annotated[
        float,
        OptionSpec(
            "Cost of a judge call, in target steps.",
            _MODELS,
            0,
            flags=("--judge-cost", "-v"),
        ),
    ] = 0.05
    step_length: Annotated[
        float, OptionSpec("Mean length of a step in tokens.", _MODELS, 1, 1e6)
    ] = _SCENARIO.target_steps.mean
    step_length_cv: Annotated[
        float,
        OptionSpec(
            "Coefficient of variation of the step length, 0 (constant) to 3.",
            _MODELS,
            0,
            3,
        ),
    ] = 0.6
    colocated: Annotated[bool, OptionSpec("Run both models on one device.", _MACHINE)] = (
        _DEVICES.colocated
    )
    serialize: Annotated[
        bool,
        OptionSpec(
            "Let a device do one thing at a time, judging first, like a local worker.", _MACHINE
        ),
    ] = _DEVICES.serialize
    slowdown: Annotated[
        float,
        OptionSpec(
            "Cost of each further sequence in a batch, relative to the first; 0 is free.",
            _MACHINE,
            0,
        ),
    ] = _DEVICES.slowdown
    target_devices: Annotated[int, OptionSpec("Number of devices of the target.", _MACHINE, 1)] = (
        _DEVICES.target
    )
    efficiency: Annotated[
        float,
        OptionSpec("Tensor-parallel efficiency per additional device, 0 to 1.", _MACHINE, 0, 1),
    ] = _DEVICES.efficiency
    replicas: Annotated[int, OptionSpec("Number of copies of draft and target.", _MACHINE, 1)] = (
        _DEVICES.replicas
    )
    models: Annotated[
        str | None,
        OptionSpec(
            "Draft and target by size: 2B/32B, or 2B/32B:4 for a target with 4-bit weights.",
            _MACHINE,
        ),
    ] = None
    gpu: Annotated[
        tuple[str, ...],
        OptionSpec("GPU for --models, such as H100. Repeatable.", _MACHINE, shown=_GPU),
    ] = ()
    replay: Annotated[
        Path | None,
        OptionSpec("Folder of a bench to replay in virtual time.", _OUTPUT),
    ] = None
    sweep: Annotated[bool, OptionSpec("Draw maps of the speed-up into --out.", _OUTPUT)] = False
    out: Annotated[Path | None, OptionSpec("Folder of the maps.", _OUTPUT)] = None
    as_json: Annotated[
        bool,
        OptionSpec("Print one JSON object instead of a table.", _OUTPUT, flags=("--json",)),
    ] = False

    def __post_init__(self) -> None:
        check_options(self, _CONFLICTS)
        if not self.draft_cost > 0:
            raise BadOption(f"--draft-cost must be above 0, not {self.draft_cost:g}")
        unknown = [name for name in self.method if name not in STEPWISE]
        if unknown and self.replay is None:  # a replay takes names of presets
            raise BadOption(
                f"--method {unknown[0]!r} cannot be simulated; known: {', '.join(STEPWISE)}"
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods to compare; a map uses only the first."""
        return self.method or (("fpsr",) if self.sweep else _COMPARED)

    def scenario(self, run: RunOptions) -> Scenario:
        """Return the scenario of the first method; the unit of time is a target step.

        Raises:
            BadScenario: If the efficiency is 0.
        """
        lengths = Lengths(self.step_length, self.step_length_cv)
        return Scenario(
            Costs.relative(self.draft_cost, self.judge_cost, self.step_length, self.step_length),
            method=self.methods[0],
            options=run.run_config().options,
            devices=Devices(
                colocated=self.colocated,
                serialize=self.serialize,
                slowdown=self.slowdown,
                target=self.target_devices,
                efficiency=self.efficiency,
                replicas=self.replicas,
            ),
            draft_steps=lengths,
            target_steps=lengths,
            acceptance=self.acceptance,
            resample_acceptance=self.resample_acceptance,
            skipped_verification=self.skipped_verification,
            steps=self.steps,
            requests=self.requests,
            even=True,
            concurrency=self.concurrency,
            seed=run.seed,
        )

    def pairs(self) -> list[tuple[str, ModelPair]]:
        """Return the named models on each of the named GPUs, as pairs of GPU and models.

        Empty without `models`.

        Raises:
            BadScenario: If a name is unknown.
        """
        if self.models is None:
            return []
        return [(name, named_pair(self.models, name)) for name in self.gpu or (_GPU,)]


_CONFLICTS = (
    Conflict(
        lambda o: o.sweep != (o.out is not None),
        "--sweep and --out belong together: name the folder of the maps with --out",
    ),
    Conflict(
        lambda o: o.replay is not None and (o.sweep or o.models is not None),
        "--replay cannot be combined with --sweep or --models: leave them out",
    ),
    Conflict(
        lambda o: o.gpu and o.models is None,
        "--gpu needs --models: add --models 2B/32B for example",
    ),
)

_OF_REPLAY = ("replay", "method", "as_json")
_OF_MACHINE = ("colocated", "serialize", "slowdown", "target_devices", "efficiency")
_ALL = tuple(option_specs(SimulateOptions)) + RUN_OPTIONS


def simulate_cases(values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the options of each simulated method, given those of the command line."""
    methods = values["method"] or (("fpsr",) if values["sweep"] else _COMPARED)
    known = [name for name in methods if name in STEPWISE]
    if values["sweep"]:
        known = known[:1]
    if values["replay"] is not None:
        return [values]
    return [{**values, "method": name} for name in known]


# Combinations with the options of a run. A replay is checked before all else.
SIMULATE_RULES = (
    Unused(
        tuple(name for name in _ALL if name not in _OF_REPLAY),
        lambda o: o.replay is not None,
        "with --replay",
    ),
    Unused(
        ("draft_cost", "judge_cost", *_OF_MACHINE), lambda o: o.models is not None, "with --models"
    ),
    Unused(("draft_cost", "requests", "as_json"), lambda o: o.sweep, "with --sweep"),
    Unused(
        ("acceptance",), lambda o: o.sweep and o.models is not None, "with --sweep and --models"
    ),
    Unused(("resample_acceptance",), lambda o: not o.resamples, "without --resamples"),
    Unused(
        ("skipped_verification",), lambda o: o.method not in GATED_METHODS, "with --method {method}"
    ),
    Unused(
        ("acceptance", "judge_cost"),
        lambda o: o.method in ("target", "draft"),
        "with --method {method}",
    ),
    Unused(("draft_cost",), lambda o: o.method == "target", "with --method {method}"),
)
