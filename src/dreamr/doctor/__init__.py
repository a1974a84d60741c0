"""Looking at a pair of models before it is put to work: what holds, what does not, what to do."""

from dreamr.doctor._checks import CHECKS, Patient, examine
from dreamr.doctor._finding import Finding, State
from dreamr.doctor._pair import together

__all__ = ["CHECKS", "Finding", "Patient", "State", "examine", "together"]
