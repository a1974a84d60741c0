"""A small bandit over the settings of FPSR.

What is best depends on how often drafted steps are accepted, on what a drafted step and a verdict
cost, and on who else uses the hardware; all of that shows in how long runs take. So nothing is
estimated but that, for each setting and apart for each kind of question.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from dreamr.conversation import Conversation, Text
from dreamr.runner import RunConfig, RunScope
from dreamr.schedules import Fallback, ScheduleConfig
from dreamr.trace import Result, StepRejected

_CURIOSITY = 0.06  # of the least seconds, for each unit of doubt
_PRIOR = 3.0  # steps squared: how much the usual counts beside what a setting has shown
_MEMORY = 500.0  # runs, after which older ones hardly count
_WORSE = 0.85  # of the first setting's speed: behind one that reaches less, none is tried


@dataclass(frozen=True, slots=True)
class Setting:
    """What is chosen for a run; see `dreamr.schedules.ScheduleConfig`."""

    window: int
    fallback: Fallback = "eager"
    resamples: int = 0

    def applied(self, options: ScheduleConfig) -> ScheduleConfig:
        """These options with this setting; no race where the text is to be reproducible."""
        resamples = 0 if options.deterministic else self.resamples
        return replace(options, window=self.window, fallback=self.fallback, resamples=resamples)


# Ladders: each begins at the default, and goes one way.
SETTINGS: Sequence[Sequence[Setting]] = (
    tuple(Setting(window) for window in (8, 4, 2, 1)),
    tuple(Setting(window, "on-reject") for window in (8, 4, 2, 1)),
    (Setting(8), Setting(16)),
    (Setting(8, "on-reject"), Setting(16, "on-reject")),
    (Setting(8), Setting(8, "idle")),
    (Setting(8), Setting(8, resamples=2)),
)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run has shown: its seconds, and its steps, by whether a drafted one was refused."""

    seconds: float
    kept: int
    refused: int

    @classmethod
    def of(cls, result: Result) -> RunSummary | None:
        """That of a run; None where it did not come to its end."""
        if not result.complete or not result.steps:
            return None
        places = {event.position for event in result.events if isinstance(event, StepRejected)}
        return cls(result.seconds, max(0, len(result.steps) - len(places)), len(places))


@dataclass(slots=True)
class _Seen:
    """Runs with a setting, older ones less: sums for a fit of seconds to kept and refused steps.

    waiting: runs under way.
    """

    weight: float = 0.0
    kept2: float = 0.0
    both: float = 0.0
    refused2: float = 0.0
    kept_seconds: float = 0.0
    refused_seconds: float = 0.0
    waiting: int = 0

    def add(self, shown: RunSummary) -> None:
        self.weight += 1
        self.kept2 += shown.kept**2
        self.both += shown.kept * shown.refused
        self.refused2 += shown.refused**2
        self.kept_seconds += shown.kept * shown.seconds
        self.refused_seconds += shown.refused * shown.seconds

    def fade(self, share: float) -> None:
        self.weight *= share
        self.kept2 *= share
        self.both *= share
        self.refused2 *= share
        self.kept_seconds *= share
        self.refused_seconds *= share

    def predict(self, usual: tuple[float, float], kept: float, refused: float) -> _Guess:
        """Seconds of a run with so many steps: least squares, drawn towards the usual costs.

        usual: seconds of a kept and of a refused step.
        """
        a, b, c = self.kept2 + _PRIOR, self.both, self.refused2 + _PRIOR
        x = self.kept_seconds + _PRIOR * usual[0]
        y = self.refused_seconds + _PRIOR * usual[1]
        room = a * c - b * b
        seconds = kept * (c * x - b * y) + refused * (a * y - b * x)
        spread = c * kept**2 - 2 * b * kept * refused + a * refused**2
        return _Guess(max(1e-9, seconds / room), math.sqrt(max(0.0, spread / room)))


@dataclass(frozen=True, slots=True)
class _Guess:
    """Of how long a run takes. doubt: about 1 after one run with as many steps, less after more."""

    seconds: float
    doubt: float


class _Book:
    """What is known of the settings for one kind of question."""

    def __init__(self) -> None:
        self.seen: dict[Setting, _Seen] = {}
        self._all = _Seen()
        self._kept = 0.0
        self._refused = 0.0

    def add(self, setting: Setting, shown: RunSummary) -> None:
        share = 1 - 1 / _MEMORY
        for seen in (*self.seen.values(), self._all):
            seen.fade(share)
        self._kept, self._refused = self._kept * share, self._refused * share
        self.seen[setting].add(shown)
        self._all.add(shown)
        self._kept += shown.kept
        self._refused += shown.refused

    def guesses(self) -> dict[Setting, _Guess]:
        """Of each known setting, for a run with as many kept and refused steps as usual."""
        every = self._all
        if every.weight <= 0:
            return {}
        squares = every.kept2 + 2 * every.both + every.refused2
        mean = (every.kept_seconds + every.refused_seconds) / max(squares, _PRIOR)
        one, other = every.predict((mean, mean), 1, 0), every.predict((mean, mean), 0, 1)
        usual = one.seconds, other.seconds
        steps = self._kept / every.weight, self._refused / every.weight
        return {
            setting: seen.predict(usual, *steps)
            for setting, seen in self.seen.items()
            if seen.weight > 0
        }


class Tuner:
    """Chooses the setting of each run, and learns from how fast it was.

    How long a run takes depends more on how many of its drafted steps were refused than on any
    setting. So what is learnt of a setting is what a kept and what a refused step take with it, and
    settings are compared at the same number of both. The choice is that of LinUCB (Li et al. 2010,
    arXiv 1003.0146), the least seconds that are still to be believed, with forgetting, over
    ladders: a setting is tried once the one before it has shown to be worth it. Deterministic.
    """

    def __init__(self, ladders: Sequence[Sequence[Setting]] = SETTINGS) -> None:
        """Nothing is known yet; the first run of each kind gets the first setting."""
        self._ladders = ladders
        self._books: dict[Hashable, _Book] = {}
        self._chosen: dict[RunScope, Setting] = {}

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """As a hook of a Reasoner: choose the setting of a run of method fpsr."""
        if config.method != "fpsr":
            return config
        setting = self._chosen[run] = self.choose(kind_of(run.conversation))
        return replace(config, options=setting.applied(config.options))

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """As a hook of a Reasoner: learn from the run."""
        if (setting := self._chosen.pop(run, None)) is not None:
            summary = None if result is None else RunSummary.of(result)
            self.learn(kind_of(run.conversation), setting, summary)

    def choose(self, kind: Hashable = None) -> Setting:
        """The setting for a run that begins now, on a question of that kind."""
        book = self._books.setdefault(kind, _Book())
        guesses = book.guesses()
        setting = self._fresh(book, guesses) or self._likely(book, guesses)
        book.seen.setdefault(setting, _Seen()).waiting += 1
        return setting

    def learn(self, kind: Hashable, setting: Setting, shown: RunSummary | None) -> None:
        """Such a run has ended; None where it failed."""
        book = self._books[kind]
        book.seen[setting].waiting -= 1
        if shown is not None:
            book.add(setting, shown)

    def best(self, kind: Hashable = None) -> Setting:
        """What has been fastest so far."""
        book = self._books.get(kind)
        guesses = book.guesses() if book is not None else {}
        return min(guesses, key=lambda s: guesses[s].seconds, default=self._ladders[0][0])

    def _fresh(self, book: _Book, guesses: Mapping[Setting, _Guess]) -> Setting | None:
        """One that was never tried, and may be worth it."""
        # Not the best: what one ladder has found says little of how far another one climbs.
        first = guesses.get(self._ladders[0][0])
        usual = first.seconds if first is not None else 0.0
        for ladder in self._ladders:
            before = usual  # seconds with the one before on the ladder
            for setting in ladder:
                seen = book.seen.get(setting)
                if seen is None or not (seen.weight or seen.waiting):
                    if usual >= _WORSE * before:
                        return setting
                    break
                if setting not in guesses:
                    break  # its first run is under way
                before = guesses[setting].seconds
        return None

    def _likely(self, book: _Book, guesses: Mapping[Setting, _Guess]) -> Setting:
        if not guesses:
            return self._ladders[0][0]
        least = min(guess.seconds for guess in guesses.values())
        runs = sum(seen.weight for seen in book.seen.values())
        curiosity = _CURIOSITY * least * math.sqrt(math.log(1 + runs))

        def hope(setting: Setting) -> float:
            guess, waiting = guesses[setting], book.seen[setting].waiting
            return guess.seconds - curiosity * guess.doubt / math.sqrt(1 + waiting)

        return min(guesses, key=hope)


def kind_of(conversation: Conversation) -> Hashable:
    """What questions have in common that take alike: pictures or none, and about how many words."""
    parts = [part for turn in conversation.turns for part in turn.parts]
    letters = sum(len(part.text) for part in parts if isinstance(part, Text))
    images = sum(not isinstance(part, Text) for part in parts)
    return images > 0, max(1, letters // 200).bit_length()
