"""A custom task: hours on a time sheet. Use it with --plugin examples/timesheet.py.

A loader creates items, each with a conversation and a scorer, and `add_task` registers it under a
name. The bundled pair was trained on tables of points, but not on questions about hours.
"""

from __future__ import annotations

from functools import partial
from random import Random

from dreamr_testbed.suites import SIDE, Canvas

from dreamr.conversation import Conversation, read_image
from dreamr.evaluation.tasks import Item, Items, Split, add_task, extract_answer

WORKERS = ("Ann", "Bob", "Cid", "Dora", "Eve", "Finn", "Gus", "Ida", "Leo", "Mia", "Tom")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri")
MOST = 12  # hours per day


def load(limit: int, seed: int, split: Split) -> Items:
    """Return `limit` time sheets; the items of the two splits differ for every seed."""
    return Items(range(seed, seed + limit), partial(timesheet, split))


def timesheet(split: Split, index: int) -> Item:
    """Create a time sheet of 2 to 4 workers and two days, with a question about two numbers."""
    rng = Random(f"timesheet/{split}/{index}")
    workers = rng.sample(WORKERS, rng.randint(2, 4))
    days = sorted(rng.sample(DAYS, 2), key=DAYS.index)
    canvas = Canvas(rng)
    hours = {}
    for column, name in enumerate(days):
        canvas.text(2 + 2 * column, 0, 2, name)
    for row, worker in enumerate(workers, 1):
        canvas.line((2, row * 24, SIDE - 2, row * 24), light=True)
        canvas.text(0, row, 2, worker)
        for column, day in enumerate(days):
            hours[worker, day] = rng.randint(1, MOST)
            canvas.text(2 + 2 * column, row, 2, str(hours[worker, day]))
    image, _ = canvas.finish()

    day = rng.choice(days)
    less, more = sorted(rng.sample(workers, 2), key=lambda worker: hours[worker, day])
    a, b = hours[more, day], hours[less, day]
    both = sum(hours[more, each] for each in days)
    kind, question, answer = rng.choice(
        [
            ("sum", f"How many hours do {more} and {less} have together on {day}?", a + b),
            ("difference", f"How many more hours does {more} have than {less} on {day}?", a - b),
            ("row", f"How many hours does {more} have on both days together?", both),
        ]
    )
    return Item(
        task="timesheet",
        index=index,
        id=f"{split}/{index}",
        kind=kind,
        unit=str(index),
        conversation=Conversation.from_prompt(question, read_image(image)),
        read=extract_answer,
        right=partial(_says, str(answer)),
    )


def _says(answer: str, text: str) -> bool:
    return (extract_answer(text) or text).strip() == answer


add_task("timesheet", load)
