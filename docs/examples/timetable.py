"""A task of one's own: who drives later? Use it with --plugin docs/examples/timetable.py.

A loader makes items, each with a conversation and a scorer, and `add_task` gives it a name. The
embedded pair has seen tables, but never this question.
"""

from __future__ import annotations

from functools import partial
from random import Random

from dreamr.conversation import Conversation, read_image
from dreamr.tasks import SIDE, Canvas, Item, Items, Split, add_task, extract_answer

DRIVERS = ("Ann", "Bob", "Cid", "Dora", "Eve", "Finn", "Gus", "Ida", "Leo", "Mia", "Tom")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri")


def load(limit: int, seed: int, split: Split) -> Items:
    """So many timetables; those to train on and those to measure with share no seed."""
    return Items(range(seed, seed + limit), partial(timetable, split))


def timetable(split: Split, index: int) -> Item:
    """One timetable: drivers, two days, and the hour at which each bus leaves."""
    rng = Random(f"timetable/{split}/{index}")
    drivers = rng.sample(DRIVERS, rng.randint(2, 4))
    days = sorted(rng.sample(DAYS, 2), key=DAYS.index)
    hours = [(rng.randint(5, 23), rng.randint(5, 23)) for _ in drivers]
    first, second = rng.sample(range(len(drivers)), 2)
    day = rng.randrange(2)
    while hours[first][day] == hours[second][day]:
        hours[second] = (rng.randint(5, 23), rng.randint(5, 23))
    canvas = Canvas(rng)
    for column, name in enumerate(days):
        canvas.text(2 + 2 * column, 0, 2, name)
    for row, (driver, leaves) in enumerate(zip(drivers, hours, strict=True), 1):
        canvas.line((2, row * 24, SIDE - 2, row * 24), light=True)
        canvas.text(0, row, 2, driver)
        for column, hour in enumerate(leaves):
            canvas.text(2 + 2 * column, row, 2, str(hour))
    picture, _ = canvas.finish()
    question = f"Who drives later on {days[day]}, {drivers[first]} or {drivers[second]}?"
    later = first if hours[first][day] > hours[second][day] else second
    return Item(
        task="timetable",
        index=index,
        id=f"{split}/{index}",
        kind="timetable",
        unit=str(index),
        conversation=Conversation.ask(question, read_image(picture)),
        read=extract_answer,
        right=partial(_says, drivers[later]),
    )


def _says(answer: str, text: str) -> bool:
    return (extract_answer(text) or text).strip() == answer


add_task("timetable", load)
