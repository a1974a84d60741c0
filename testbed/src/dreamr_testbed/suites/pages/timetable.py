"""Timetables: one bus line per page, with two buses that stop at the same places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import ClassVar, Self

from dreamr_testbed.suites.canvas import PATCH, SIDE, Canvas
from dreamr_testbed.suites.parts import Place, compared, plus
from dreamr_testbed.suites.problem import Medium, Paint, ReferenceStep, look_for
from dreamr_testbed.suites.words import BARS, both, result

BUSES = ("first", "second")

Times = tuple[int, int]  # minutes at which both buses are at a stop
Page = tuple[Times, ...]  # in the order of the stops


@dataclass(frozen=True, slots=True)
class Timetable:
    """A timetable of several pages and a question about it.

    Attributes:
        parts: Minutes at each stop, per page.
        ask: 'ride': the duration of one ride, 'change': arrival after changing buses, 'waits': the
            time of all waits, or 'fastest': the duration of the shortest ride.
        stops: Stops in the question: start and end of a ride, or each change, and then the end for
            'change'.
        bus: Index in `BUSES` of the first bus.
        page: Page of the ride, from 1, for 'ride'.
    """

    parts: tuple[Page, ...]
    ask: str
    stops: tuple[int, ...]
    bus: int
    page: int = 1

    medium: ClassVar[Medium] = "pages"

    @property
    def question(self) -> str:
        """Question about rides, changes or waits."""
        names = [BARS[stop] for stop in self.stops]
        bus = f"the {BUSES[self.bus]} bus"
        if self.ask == "ride":
            way = f"from {names[0]} to {names[1]}"
            return f"How long does {bus} of page {self.page} take {way}?"
        if self.ask == "fastest":
            way = f"from {names[0]} to {names[1]}"
            return f"Each page has two buses. How long is the shortest ride {way}?"
        changes = [f"at {BARS[stop]} to page {page}" for page, stop in enumerate(self._changes, 2)]
        way = f"Take {bus} of page 1. Change {', '.join(changes)}, each time to the next bus."
        if self.ask == "waits":
            return f"{way} How long are all waits together?"
        return f"{way} When are you at {names[-1]}?"

    @property
    def _changes(self) -> tuple[int, ...]:
        return self.stops[:-1] if self.ask == "change" else self.stops

    def _trip(self) -> list[tuple[int, int, int, int | None]]:
        """Return page, stop, arrival and next bus of each change; no bus if it is missed."""
        bus: int | None = self.bus
        trip = []
        for page, stop in enumerate(self._changes):
            if bus is None:
                break
            arrival = self.parts[page][stop][bus]
            later = [b for b in (0, 1) if self.parts[page + 1][stop][b] > arrival]
            bus = later[0] if later else None
            trip.append((page, stop, arrival, bus))
        return trip

    @property
    def possible(self) -> bool:
        """Whether no bus is missed, and none leaves at the very minute of an arrival."""
        if self.ask in ("ride", "fastest"):
            return all(
                self._ride(page, bus) > 0 for page in range(len(self.parts)) for bus in (0, 1)
            )
        trip = self._trip()
        if len(trip) < len(self._changes) or trip[-1][3] is None:
            return False
        return all(arrival not in self.parts[page + 1][stop] for page, stop, arrival, _ in trip)

    def _ride(self, page: int, bus: int) -> int:
        start, end = self.stops
        return self.parts[page][end][bus] - self.parts[page][start][bus]

    def _rides(self) -> list[int]:
        return [self._ride(page, bus) for page in range(len(self.parts)) for bus in (0, 1)]

    def _waits(self) -> list[int]:
        return [
            self.parts[page + 1][stop][bus or 0] - arrival
            for page, stop, arrival, bus in self._trip()
        ]

    @property
    def answer(self) -> str:
        """Minutes."""
        if self.ask == "ride":
            return str(self._ride(self.page - 1, self.bus))
        if self.ask == "fastest":
            return str(min(self._rides()))
        if self.ask == "waits":
            return str(sum(self._waits()))
        return str(self.parts[-1][self.stops[-1]][self._trip()[-1][3] or 0])

    def _read(self, page: int, stop: int, bus: int, after: int | None = None) -> ReferenceStep:
        """Return the step that reads the minutes of a bus at a stop, the next after a time."""
        both_, name = both(*map(str, self.parts[page][stop])), BARS[stop]
        one = f"{BUSES[bus]} is {self.parts[page][stop][bus]}"
        when, said = ("", "") if after is None else (f"after {after}: ", f"after {after} ")
        return Place(page + 1, stop + 1, "page").step(
            "row",
            f"{name} {both_}, {when}{one}",
            f"I see {name} and there I read {both_}, and {said}the {one}",
        )

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: one step per stop that is read, then the calculation."""
        names = [BARS[stop] for stop in self.stops]
        if self.ask == "ride":
            start, end = (self.parts[self.page - 1][stop][self.bus] for stop in self.stops)
            return (
                look_for(f"{both(*names)} on page {self.page}"),
                *(self._read(self.page - 1, stop, self.bus) for stop in self.stops),
                result("Difference", f"{end} - {start} = {end - start}"),
            )
        if self.ask == "fastest":
            return self._fastest_steps()
        return self._change_steps()

    def _fastest_steps(self) -> tuple[ReferenceStep, ...]:
        steps = [look_for(f"{both(*(BARS[stop] for stop in self.stops))} on all pages")]
        best: int | None = None
        for page in range(len(self.parts)):
            steps += [self._row(page, stop) for stop in self.stops]
            for bus in (0, 1):
                start, end = (self.parts[page][stop][bus] for stop in self.stops)
                ride = end - start
                terse, wordy = compared(ride, best, "less")
                best = ride if best is None else min(best, ride)
                way = f"{end} - {start} = {ride}"
                steps.append(
                    ReferenceStep(
                        f"Page {page + 1}, {BUSES[bus]}: {way}{terse}, best {best}.",
                        f"On page {page + 1} the {BUSES[bus]} bus takes {way}{wordy}, "
                        f"so the best is now {best}.",
                    )
                )
        end_ = f"So the shortest ride takes {best}."
        return (*steps, ReferenceStep(f"Found: {best}.", end_))

    def _row(self, page: int, stop: int) -> ReferenceStep:
        what = f"{both(*map(str, self.parts[page][stop]))}"
        return Place(page + 1, stop + 1, "page").step(
            "row", f"{BARS[stop]} {what}", f"I see {BARS[stop]} and there I read {what}"
        )

    def _change_steps(self) -> tuple[ReferenceStep, ...]:
        names = [BARS[stop] for stop in self.stops]
        steps, total = [look_for(" and ".join(names))], 0
        for (page, stop, arrival, bus), wait in zip(self._trip(), self._waits(), strict=True):
            before = self._trip()[page - 1][3] if page else self.bus
            steps.append(self._read(page, stop, before or 0))
            if bus is None:
                return tuple(steps)
            steps.append(self._read(page + 1, stop, bus, arrival))
            if self.ask == "waits":
                next_ = self.parts[page + 1][stop][bus]
                sum_ = f"{next_} - {arrival} = {wait}"
                steps.append(
                    ReferenceStep(
                        f"Page {page + 2}, wait: {sum_}, total {plus(total, wait)}.",
                        f"On page {page + 2} the wait is {sum_}, "
                        f"and the total is {plus(total, wait)}.",
                    )
                )
                total += wait
        if self.ask == "change":
            steps.append(self._read(len(self.parts) - 1, self.stops[-1], self._trip()[-1][3] or 0))
        return tuple(steps)

    @property
    def transcript(self) -> str:
        """Stops and minutes as text."""
        return "\n".join(
            f"{name} {a} {b}"
            for part in self.parts
            for name, (a, b) in zip(BARS, part, strict=False)
        )

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per page."""
        return tuple(partial(self._paint, number) for number in range(len(self.parts)))

    def _paint(self, number: int, canvas: Canvas) -> None:
        canvas.text(1, 0, 4, f"PAGE {number + 1}", name=False)
        for row, (name, times) in enumerate(zip(BARS, self.parts[number], strict=False), 1):
            canvas.line((2, row * PATCH, SIDE - 2, row * PATCH), light=True)
            canvas.text(0, row, 2, name)
            for column, minute in enumerate(times):
                canvas.text(2 + 2 * column, row, 2, str(minute))

    def misread(self, rng: Random) -> Self:
        """Return the same timetable with one wrong time, if no bus is missed with it."""
        pages = [[list(times) for times in part] for part in self.parts]
        page, stop, bus = rng.randrange(len(pages)), rng.choice(self.stops), rng.randrange(2)
        pages[page][stop][bus] = max(
            1, pages[page][stop][bus] + rng.choice((-10, -2, -1, 1, 2, 10))
        )
        scene = replace(self, parts=tuple(tuple((a, b) for a, b in part) for part in pages))
        return scene if scene.possible else self


def _page(rng: Random, stops: int, start: int) -> Page:
    """Draw the minutes of two buses, the second later at each stop."""
    while True:
        first = _minutes(rng, start + rng.randint(0, 9), stops)
        second = _minutes(rng, start + rng.randint(10, 25), stops)
        if all(a < b for a, b in zip(first, second, strict=True)) and second[-1] <= 99:
            return tuple(zip(first, second, strict=True))


def _minutes(rng: Random, start: int, stops: int) -> list[int]:
    found = [max(1, start)]
    for _ in range(stops - 1):
        found.append(found[-1] + rng.randint(2, 12))
    return found


def draw_timetable(rng: Random, level: int) -> Timetable:
    """Draw a random timetable of two or three pages and a question about one ride or change."""
    count, pages = {1: (3, 2), 2: (4, 2), 3: (5, 3)}[level]
    ask = "ride" if level == 1 else rng.choice(("ride", "change", "waits"))
    while True:
        # Buses of later pages start later, so that there is one to change to.
        late = 0 if ask == "ride" else 12
        parts = tuple(_page(rng, count, late * page) for page in range(pages))
        picked = sorted(
            rng.sample(range(count), {"ride": 2, "change": pages, "waits": pages - 1}[ask])
        )
        scene = Timetable(parts, ask, tuple(picked), rng.randrange(2), rng.randint(1, pages))
        if scene.possible:
            return scene


def draw_long_timetable(rng: Random, level: int) -> Timetable:
    """Draw a random timetable of two to four pages and a question about all of them."""
    pages = level + 1
    ask = "fastest" if level == 1 or rng.random() < 0.5 else "waits"
    pages = 4 if ask == "waits" else pages
    while True:
        late = 0 if ask == "fastest" else 12
        parts = tuple(_page(rng, 5, late * page) for page in range(pages))
        picked = sorted(rng.sample(range(5), 2 if ask == "fastest" else pages - 1))
        scene = Timetable(parts, ask, tuple(picked), rng.randrange(2))
        if scene.possible:
            return scene
