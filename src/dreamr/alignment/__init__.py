"""Training a draft to write what its target accepts: SAPO, and cheaper ways from records.

Importing this loads no torch; `dreamr.alignment._sapo` does.
"""

from dreamr.alignment._curves import draw_curves
from dreamr.alignment._errors import BadTraining
from dreamr.alignment._grader import Completion, Grader, write
from dreamr.alignment._guards import GUARDS
from dreamr.alignment._measure import measure
from dreamr.alignment._options import RecordsOptions, SapoOptions
from dreamr.alignment._problems import Problems, task_names, training_problems
from dreamr.alignment._records import Record, Records, mend, record_of, to_line
from dreamr.alignment._rewards import TERMS, BadReward, Counting, Scheme, add_term
from dreamr.alignment._rollout import Group, Reference, Rollout, figures

__all__ = [
    "GUARDS",
    "TERMS",
    "BadReward",
    "BadTraining",
    "Completion",
    "Counting",
    "Grader",
    "Group",
    "Problems",
    "Record",
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
    "mend",
    "record_of",
    "task_names",
    "to_line",
    "training_problems",
    "write",
]
