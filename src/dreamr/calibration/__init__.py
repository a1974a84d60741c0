"""Gates whose risk is stated: what may be accepted on data of a kind, with which confidence."""

from dreamr.calibration._answers import calibrate_answers
from dreamr.calibration._bound import Tested, binomial_tail, last_permitted, upper_bound
from dreamr.calibration._families import (
    FEW_THRESHOLDS,
    KINDS,
    Calibrated,
    Candidate,
    calibrate,
    family,
)
from dreamr.calibration._models import models_of, profiled_gate
from dreamr.calibration._profile import (
    Bounds,
    Profile,
    Reference,
    read_profile,
    write_profile,
)
from dreamr.calibration._steps import JudgedStep, judged_steps

__all__ = [
    "FEW_THRESHOLDS",
    "KINDS",
    "Bounds",
    "Calibrated",
    "Candidate",
    "JudgedStep",
    "Profile",
    "Reference",
    "Tested",
    "binomial_tail",
    "calibrate",
    "calibrate_answers",
    "family",
    "judged_steps",
    "last_permitted",
    "models_of",
    "profiled_gate",
    "read_profile",
    "upper_bound",
    "write_profile",
]
