"""Everything that can be chosen about a simulation, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dreamr._option_specs import BadOption, OptionSpec, check_options
from dreamr._options import RunOptions
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.machines import ModelPair, named_pair
from dreamr.evaluation.simulator.scenario import STEPWISE, Scenario
from dreamr.evaluation.simulator.script import Lengths

_MODELS, _WORK, _MACHINE, _OUTPUT = "Models", "Work", "Devices", "What to show"
_SCENARIO, _DEVICES = Scenario(Costs.relative(1, 1)), Devices()  # whose defaults are the options'
_COMPARED = ("sequential", "lookahead", "fpsr")
_GPU = "H100"

# The options of a run that virtual time knows.
RUN_OPTIONS = ("window", "fallback", "resamples", "final_answer", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateOptions:
    """What is simulated, and what is shown of it; `RunOptions` say how the schedules behave.

    Raises:
        BadOption: a value outside its bounds, or flags that do not go together.
    """

    method: Annotated[
        tuple[str, ...],
        OptionSpec(
            f"Repeat for more: {', '.join(STEPWISE)}. Maps take the first.",
            _WORK,
            shown=f"{', '.join(_COMPARED)}; for maps fpsr",
        ),
    ] = ()
    steps: Annotated[int, OptionSpec("Steps of an answer.", _WORK, 1)] = _SCENARIO.steps
    requests: Annotated[int, OptionSpec("How many are answered.", _WORK, 1)] = _SCENARIO.requests
    concurrency: Annotated[int, OptionSpec("How many of them side by side.", _WORK, 1)] = (
        _SCENARIO.concurrency
    )
    acceptance: Annotated[
        float,
        OptionSpec(
            "Probability that a drafted step is accepted.",
            _MODELS,
            0,
            1,
            flags=("--acceptance", "-a"),
        ),
    ] = _SCENARIO.acceptance
    resample_acceptance: Annotated[
        float,
        OptionSpec(
            "Probability that another candidate for a rejected step is accepted.", _MODELS, 0, 1
        ),
    ] = _SCENARIO.resample_acceptance
    skipped_verification: Annotated[
        float,
        OptionSpec(
            "Of the accepted steps, the share that the draft is sure of and the target need not "
            "read, as with `dreamr run --draft-confidence`; not for methods with a gate of their "
            "own.",
            _MODELS,
            0,
            1,
        ),
    ] = _SCENARIO.skipped_verification
    draft_cost: Annotated[
        float,
        OptionSpec(
            "Cost of a drafted step, in steps of the target.",
            _MODELS,
            flags=("--draft-cost", "-c"),
        ),
    ] = 0.125
    judge_cost: Annotated[
        float,
        OptionSpec(
            "Cost of a judge call, in steps of the target.",
            _MODELS,
            0,
            flags=("--judge-cost", "-v"),
        ),
    ] = 0.05
    step_length: Annotated[float, OptionSpec("Mean tokens of a step.", _MODELS, 1, 1e6)] = (
        _SCENARIO.target_steps.mean
    )
    step_length_cv: Annotated[
        float,
        OptionSpec(
            "Coefficient of variation of the length: standard deviation over mean; 0 is always "
            "the same.",
            _MODELS,
            0,
            3,
        ),
    ] = 0.6
    colocated: Annotated[bool, OptionSpec("One device for both models.", _MACHINE)] = (
        _DEVICES.colocated
    )
    serialize: Annotated[
        bool,
        OptionSpec(
            "A device does one thing at a time, judging first, as a local worker does.", _MACHINE
        ),
    ] = _DEVICES.serialize
    slowdown: Annotated[
        float,
        OptionSpec(
            "Of each further sequence beside one: 0 costs nothing, 1 takes its full time.",
            _MACHINE,
            0,
        ),
    ] = _DEVICES.slowdown
    target_devices: Annotated[
        int, OptionSpec("Devices that the target is spread over.", _MACHINE, 1)
    ] = _DEVICES.target
    efficiency: Annotated[
        float,
        OptionSpec("Tensor-parallel efficiency per additional device.", _MACHINE, 0, 1),
    ] = _DEVICES.efficiency
    replicas: Annotated[int, OptionSpec("How many such sets of devices.", _MACHINE, 1)] = (
        _DEVICES.replicas
    )
    models: Annotated[
        str | None,
        OptionSpec(
            "Named models, draft and target: 2B/32B, or 2B/32B:4 for weights of 4 bits.", _MACHINE
        ),
    ] = None
    gpu: Annotated[
        tuple[str, ...],
        OptionSpec("Named devices for --models; repeat for more.", _MACHINE, shown=_GPU),
    ] = ()
    replay: Annotated[
        Path | None,
        OptionSpec("Folder of a bench: run its traces again in virtual time.", _OUTPUT),
    ] = None
    sweep: Annotated[bool, OptionSpec("Draw maps into --out, of --models if given.", _OUTPUT)] = (
        False
    )
    out: Annotated[Path | None, OptionSpec("Folder for the maps.", _OUTPUT)] = None
    as_json: Annotated[
        bool,
        OptionSpec("Print one JSON object instead of a table.", _OUTPUT, flags=("--json",)),
    ] = False

    def __post_init__(self) -> None:
        check_options(self)
        if not self.draft_cost > 0:
            raise BadOption(f"--draft-cost must be above 0, not {self.draft_cost:g}")
        unknown = [name for name in self.method if name not in STEPWISE]
        if unknown and self.replay is None:  # a bench has names of its own
            raise BadOption(
                f"--method {unknown[0]!r} cannot be simulated; known: {', '.join(STEPWISE)}"
            )
        if self.sweep != (self.out is not None):
            raise BadOption("--sweep and --out go together: where are the maps to be written?")
        if self.replay is not None and (self.sweep or self.models is not None):
            raise BadOption("--replay stands alone: leave --sweep and --models out")
        if self.gpu and self.models is None:
            raise BadOption("--gpu needs --models, 2B/32B for example")

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that are compared; of a map the first alone is drawn."""
        return self.method or (("fpsr",) if self.sweep else _COMPARED)

    def scenario(self, run: RunOptions) -> Scenario:
        """The scenario, of the first method, in units of a step of the target.

        Raises:
            BadScenario: an efficiency of 0.
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
        """The named models on each of the named devices, by the device; none where none is named.

        Raises:
            BadScenario: an unknown name.
        """
        if self.models is None:
            return []
        return [(name, named_pair(self.models, name)) for name in self.gpu or (_GPU,)]
