"""Calibration of gates: bounds on their error rate with a stated confidence."""

from dreamr.evaluation.calibration.bounds import Tested, binomial_tail, last_permitted, upper_bound
from dreamr.evaluation.calibration.by_answers import calibrate_answers
from dreamr.evaluation.calibration.by_steps import JudgedStep, judged_steps
from dreamr.evaluation.calibration.calibrating import (
    Calibration,
    Progress,
    calibrate,
    calibration_total,
)
from dreamr.evaluation.calibration.families import (
    FEW_THRESHOLDS,
    KINDS,
    Calibrated,
    Candidate,
    calibrate_steps,
    family,
)
from dreamr.evaluation.calibration.options import RUN_OPTIONS, CalibrateOptions

__all__ = [
    "FEW_THRESHOLDS",
    "KINDS",
    "RUN_OPTIONS",
    "CalibrateOptions",
    "Calibrated",
    "Calibration",
    "Candidate",
    "JudgedStep",
    "Progress",
    "Tested",
    "binomial_tail",
    "calibrate",
    "calibrate_answers",
    "calibrate_steps",
    "calibration_total",
    "family",
    "judged_steps",
    "last_permitted",
    "upper_bound",
]
