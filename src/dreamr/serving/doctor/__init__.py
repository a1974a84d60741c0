"""Diagnosis of a draft/target pair before it serves requests."""

from dreamr.serving.doctor.checks import CHECKS, ModelUnderTest, run_checks
from dreamr.serving.doctor.finding import Finding, State
from dreamr.serving.doctor.pair import pair_checks

__all__ = ["CHECKS", "Finding", "ModelUnderTest", "State", "pair_checks", "run_checks"]
