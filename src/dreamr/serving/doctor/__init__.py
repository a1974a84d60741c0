"""Looking at a pair of models before it is put to work: what holds, what does not, what to do."""

from dreamr.serving.doctor.checks import CHECKS, Patient, examine
from dreamr.serving.doctor.finding import Finding, State
from dreamr.serving.doctor.pair import together

__all__ = ["CHECKS", "Finding", "Patient", "State", "examine", "together"]
