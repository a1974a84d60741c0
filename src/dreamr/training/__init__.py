"""Train a draft to write steps that its target accepts.

`dreamr.training.sapo` trains by reinforcement learning, `dreamr.training.from_records` on
recorded runs. Both need torch; importing this package does not.
"""

from dreamr.training.curves import draw_curves
from dreamr.training.errors import BadTraining
from dreamr.training.grader import Completion, Grader, write
from dreamr.training.guards import GUARDS
from dreamr.training.measurement import measure
from dreamr.training.options import MeasureOptions, RecordOptions, RecordsOptions, SapoOptions
from dreamr.training.problems import Problems, training_problems
from dreamr.training.record_file import RecordFile
from dreamr.training.records import Record, Records, record_of, to_line
from dreamr.training.rewards import TERMS, BadReward, Counting, Scheme, add_term
from dreamr.training.rollout import Group, Reference, Rollout, figures
from dreamr.training.weights import writing_weights

__all__ = [
    "GUARDS",
    "TERMS",
    "BadReward",
    "BadTraining",
    "Completion",
    "Counting",
    "Grader",
    "Group",
    "MeasureOptions",
    "Problems",
    "Record",
    "RecordFile",
    "RecordOptions",
    "Records",
    "RecordsOptions",
    "Reference",
    "Rollout",
    "SapoOptions",
    "Scheme",
    "add_term",
    "draw_curves",
    "figures",
    "measure",
    "record_of",
    "to_line",
    "training_problems",
    "write",
    "writing_weights",
]
