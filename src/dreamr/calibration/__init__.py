"""Gates whose risk is stated: what may be accepted on data of a kind, with which confidence."""

from dreamr.calibration._bound import Tested, binomial_tail, last_permitted, upper_bound
from dreamr.calibration._families import KINDS, Calibrated, Candidate, calibrate, family
from dreamr.calibration._models import models_of, profiled_gate
from dreamr.calibration._profile import Profile, read_profile, write_profile
from dreamr.calibration._steps import JudgedStep, judged_steps

__all__ = [
    "KINDS",
    "Calibrated",
    "Candidate",
    "JudgedStep",
    "Profile",
    "Tested",
    "binomial_tail",
    "calibrate",
    "family",
    "judged_steps",
    "last_permitted",
    "models_of",
    "profiled_gate",
    "read_profile",
    "upper_bound",
    "write_profile",
]
