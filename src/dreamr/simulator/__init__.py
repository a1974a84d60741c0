"""Schedules in virtual time: what a machine that we do not have would do."""

from dreamr.simulator._costs import Costs
from dreamr.simulator._devices import BadScenario, Devices
from dreamr.simulator._fit import Fit, fit
from dreamr.simulator._replay import WORKER, Prediction, replay
from dreamr.simulator._script import Drafted, Lengths, Own, Script
from dreamr.simulator._simulate import (
    STEPWISE,
    Outcome,
    Scenario,
    run_scripts,
    simulate,
    speedup,
)
from dreamr.simulator._tables import ideal_seconds

__all__ = [
    "STEPWISE",
    "WORKER",
    "BadScenario",
    "Costs",
    "Devices",
    "Drafted",
    "Fit",
    "Lengths",
    "Outcome",
    "Own",
    "Prediction",
    "Scenario",
    "Script",
    "fit",
    "ideal_seconds",
    "replay",
    "run_scripts",
    "simulate",
    "speedup",
]
