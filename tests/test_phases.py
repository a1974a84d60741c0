from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dreamr._phases import Phases, Place

ALONE, TOGETHER = False, True


class Clients:
    """Clients that ask one question after the other, with seconds of a step that depend on all."""

    def __init__(self, clients: int, alone: float, together: float, spread: float = 0.0) -> None:
        self.phases = Phases()
        self.seconds = {ALONE: alone, TOGETHER: together}
        self.spread = spread
        self.clients = clients
        self.open: list[Place] = []
        self.kinds: list[bool] = []

    def run(self, runs: int) -> list[bool]:
        """Let a number of runs begin, each as the oldest one ends; return their kinds."""
        started = len(self.kinds)
        for _ in range(runs):
            if len(self.open) == self.clients:
                self.end(self.open.pop(0))
            place = self.phases.begin(len(self.open) + 1)
            self.open.append(place)
            self.kinds.append(place.speculates)
        return self.kinds[started:]

    def end(self, place: Place) -> None:
        """End a run. As long as any run speculates, all are as slow as those."""
        slow = place.speculates or any(other.speculates for other in self.open)
        self.phases.end(place, self.seconds[TOGETHER if slow else ALONE])


def test_speculation_that_slows_all_runs_is_found_out_by_stopping_it() -> None:
    clients = Clients(32, alone=1.0, together=3.0)
    kinds = clients.run(200)
    assert kinds[:64] == [True] * 64
    assert kinds[-64:] == [False] * 64
    assert clients.phases.speedup == 1 / 3
    assert clients.phases.alone_step == 1.0


def test_speculation_that_pays_goes_on_after_one_trial() -> None:
    kinds = Clients(32, alone=3.0, together=1.0).run(300)
    assert kinds[-64:] == [True] * 64
    assert False in kinds


def test_trials_become_rarer() -> None:
    clients = Clients(4, alone=1.0, together=1.2)
    kinds = clients.run(1500)
    trials = [number for number in range(1, 1500) if kinds[number] and not kinds[number - 1]]
    gaps = [after - before for before, after in pairwise(trials)]
    assert len(gaps) >= 2
    assert all(after > 2 * before for before, after in pairwise(gaps))


def test_a_trial_that_is_much_slower_ends_early() -> None:
    def longest(together: float) -> int:
        kinds = Clients(4, alone=1.0, together=together).run(400)
        runs = "".join("s" if kind else "." for kind in kinds).split(".")
        return max(map(len, runs[1:]))

    assert longest(together=2.0) < longest(together=1.2)


def test_speculation_that_surely_pays_is_not_interrupted() -> None:
    phases = Phases()
    for _ in range(100):
        place = phases.begin(1)
        assert place.speculates
        phases.end(place, 1.0, surely_pays=True)


def test_a_phase_waits_for_its_slowest_run() -> None:
    phases = Phases()
    slow, *others = [phases.begin(6) for _ in range(6)]
    for place in others:
        phases.end(place, 1.0)
        assert phases.speculates
    phases.end(slow, 7.0)
    assert not phases.speculates
    for _ in range(6):
        phases.end(phases.begin(6), 2.0)
    assert phases.speedup == 1.0


def test_runs_that_others_of_the_other_kind_overlapped_are_not_measured() -> None:
    phases = Phases()
    for place in [phases.begin(6) for _ in range(6)]:
        phases.end(place, 1.0)
    last = phases.begin(2, speculates=True)
    beside = phases.begin(6)
    assert not beside.speculates
    assert beside.group is None
    phases.end(last, 1.0)
    assert phases.begin(6).group is not None


def test_few_and_many_runs_are_measured_apart() -> None:
    clients = Clients(32, alone=1.0, together=3.0)
    clients.run(200)
    while clients.open:
        clients.end(clients.open.pop())
    assert not clients.phases.begin(32).speculates
    assert clients.phases.begin(1).speculates


def test_runs_that_fail_do_not_hold_a_phase() -> None:
    phases = Phases()
    for place in [phases.begin(6) for _ in range(6)]:
        phases.end(place, None)
    assert phases.speculates
    for place in [phases.begin(6) for _ in range(6)]:
        phases.end(place, 1.0)
    assert not phases.speculates


@given(
    clients=st.integers(1, 40),
    alone=st.floats(0.5, 2.0),
    factor=st.one_of(st.floats(0.2, 0.8), st.floats(1.3, 5.0)),
)
def test_the_faster_kind_is_found_whatever_the_number_of_clients(
    clients: int, alone: float, factor: float
) -> None:
    group = Clients(clients, alone, alone * factor)
    kinds = group.run(60 * max(6, clients))
    assert kinds.count(factor < 1) > 0.7 * len(kinds)
