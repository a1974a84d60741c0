"""Simulator: run schedules in virtual time to predict speed-ups on other hardware."""

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import BadScenario, Devices
from dreamr.evaluation.simulator.fitting import Fit, fit
from dreamr.evaluation.simulator.machines import rates
from dreamr.evaluation.simulator.replaying import WORKER, Prediction, replay
from dreamr.evaluation.simulator.scenario import (
    STEPWISE,
    Outcome,
    Scenario,
    run_scripts,
    simulate,
    speedup,
)
from dreamr.evaluation.simulator.script import DraftedStep, Lengths, Script, TargetStep
from dreamr.evaluation.simulator.tables import ideal_seconds, works_on_steps

__all__ = [
    "STEPWISE",
    "WORKER",
    "BadScenario",
    "Costs",
    "Devices",
    "DraftedStep",
    "Fit",
    "Lengths",
    "Outcome",
    "Prediction",
    "Scenario",
    "Script",
    "TargetStep",
    "fit",
    "ideal_seconds",
    "rates",
    "replay",
    "run_scripts",
    "simulate",
    "speedup",
    "works_on_steps",
]
