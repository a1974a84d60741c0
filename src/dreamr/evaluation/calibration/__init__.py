"""Gates whose risk is stated: what may be accepted on data of a kind, with which confidence."""

from dreamr.evaluation.calibration.bounds import Tested, binomial_tail, last_permitted, upper_bound
from dreamr.evaluation.calibration.by_answers import calibrate_answers
from dreamr.evaluation.calibration.by_steps import JudgedStep, judged_steps
from dreamr.evaluation.calibration.families import (
    FEW_THRESHOLDS,
    KINDS,
    Calibrated,
    Candidate,
    calibrate,
    family,
)

__all__ = [
    "FEW_THRESHOLDS",
    "KINDS",
    "Calibrated",
    "Candidate",
    "JudgedStep",
    "Tested",
    "binomial_tail",
    "calibrate",
    "calibrate_answers",
    "family",
    "judged_steps",
    "last_permitted",
    "upper_bound",
]
