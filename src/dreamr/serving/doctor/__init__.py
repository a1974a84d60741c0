"""Looking at a pair of models before it is put to work: what holds, what does not, what to do."""

from dreamr.serving.doctor.checks import CHECKS, ModelUnderTest, run_checks
from dreamr.serving.doctor.finding import Finding, State
from dreamr.serving.doctor.pair import pair_checks

__all__ = ["CHECKS", "Finding", "ModelUnderTest", "State", "pair_checks", "run_checks"]
