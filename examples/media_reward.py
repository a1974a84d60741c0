r"""A reward term for attachments: the steps must name the right page, frame or time.

dreamr train sapo --plugin examples/media_reward.py --task bills.jsonl \
    --weights outcome=1,draft=1,length=1,right_place=0.5 --out runs/places

Each line of bills.jsonl is a problem. `places` says where in its attachments the answer is found:

{"question": "What is due?", "answer": "120", "attachments": ["bill.pdf"], "places": {"pages": [2]}}
"""

from __future__ import annotations

from statistics import fmean

from dreamr.evaluation.tasks import places_in
from dreamr.training import Group, Rollout, Scheme, add_term


def right_place(rollout: Rollout, group: Group, scheme: Scheme) -> float:
    """Return the share of the named pages, frames and times that are right.

    A completion that names none earns 0, and so does one of a problem without pages, frames and
    times. Each place counts once, so that repeating it gains nothing, and naming many of them in
    the hope that one is right costs more than it earns.
    """
    named = places_in("".join(step.text for step in rollout.steps))
    checks = named.checks(rollout.item.conversation, rollout.item.places)
    return fmean(checks) if checks else 0.0


add_term("right_place", right_place)
