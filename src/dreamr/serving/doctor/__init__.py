"""Diagnosis of a draft/target pair before it serves requests."""

from dreamr.serving.doctor.checks import CHECKS, run_checks
from dreamr.serving.doctor.finding import Finding, State
from dreamr.serving.doctor.model import ModelUnderTest
from dreamr.serving.doctor.pair import PairCosts, pair_checks

__all__ = ["CHECKS", "Finding", "ModelUnderTest", "PairCosts", "State", "pair_checks", "run_checks"]
