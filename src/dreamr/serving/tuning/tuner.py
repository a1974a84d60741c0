"""A small bandit over the settings of FPSR.

The best setting depends on the acceptance, on the costs of a drafted step and of a judge call, and
on other load on the hardware. All of these show in the latency of runs. So the tuner models only
latency, for each setting and each kind of prompt.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dreamr.conversation import Conversation, Text
from dreamr.runner import RunConfig, RunScope
from dreamr.schedules import Fallback, ScheduleConfig
from dreamr.trace import Result, StepRejected

_EXPLORATION = 0.06  # bonus per unit of uncertainty, as a share of the lowest latency
_PRIOR = 3.0  # weight of the costs over all settings, in squared steps
_MEMORY = 500.0  # time constant of forgetting, in runs
_WORSE = 0.85  # of the default's speed: a slower setting ends its ladder


@dataclass(frozen=True, slots=True)
class Setting:
    """Values that the tuner chooses for a run; see `dreamr.schedules.ScheduleConfig`."""

    window: int
    fallback: Fallback = "eager"
    resamples: int = 0

    def applied(self, options: ScheduleConfig) -> ScheduleConfig:
        """Return the options with this setting.

        Deterministic runs get no resamples: which step they commit depends on timing.
        """
        resamples = 0 if options.deterministic else self.resamples
        return replace(options, window=self.window, fallback=self.fallback, resamples=resamples)


# Ladders: each starts at a window of 8 and varies one value.
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
    """Latency of a run and its numbers of steps.

    Attributes:
        seconds: Duration of the run.
        kept: Positions at which no drafted step was rejected.
        refused: Positions at which at least one drafted step was rejected.
    """

    seconds: float
    kept: int
    refused: int

    @classmethod
    def of(cls, result: Result) -> RunSummary | None:
        """Summarize a run; return None if it did not finish."""
        if not result.complete or not result.steps:
            return None
        places = {event.position for event in result.events if isinstance(event, StepRejected)}
        return cls(result.seconds, max(0, len(result.steps) - len(places)), len(places))


_SUMS = (
    "weight", "kept", "refused", "kept2", "both", "refused2", "kept_seconds", "refused_seconds",
)  # fmt: skip


@dataclass(slots=True)
class _Seen:
    """Sums over the runs with a setting, for a least-squares fit of seconds to kept and refused.

    Older runs weigh less. `waiting` is the number of running runs.
    """

    weight: float = 0.0
    kept: float = 0.0
    refused: float = 0.0
    kept2: float = 0.0
    both: float = 0.0
    refused2: float = 0.0
    kept_seconds: float = 0.0
    refused_seconds: float = 0.0
    waiting: int = 0

    def add(self, shown: RunSummary) -> None:
        self.weight += 1
        self.kept += shown.kept
        self.refused += shown.refused
        self.kept2 += shown.kept**2
        self.both += shown.kept * shown.refused
        self.refused2 += shown.refused**2
        self.kept_seconds += shown.kept * shown.seconds
        self.refused_seconds += shown.refused * shown.seconds

    def merge(self, other: _Seen) -> None:
        """Add what another replica has seen, but for its running runs."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def fade(self, share: float) -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) * share)

    def predict(self, usual: tuple[float, float], kept: float, refused: float) -> _Guess:
        """Predict the seconds of a run by ridge regression toward the usual costs.

        Args:
            usual: Seconds of a kept and of a refused step over all settings.
            kept: Number of kept steps of the run.
            refused: Number of refused steps of the run.
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
    """Predicted seconds of a run.

    `doubt` is about 1 after one run with as many steps and falls with more runs.
    """

    seconds: float
    doubt: float


class _Book:
    """Statistics of all settings for one kind of prompt.

    Attributes:
        own: Runs of this process.
        others: Finished runs of other replicas.
    """

    def __init__(self) -> None:
        self.own: dict[Setting, _Seen] = {}
        self.others: dict[Setting, _Seen] = {}

    def add(self, setting: Setting, shown: RunSummary) -> None:
        share = 1 - 1 / _MEMORY
        for seen in self.own.values():
            seen.fade(share)
        self.own[setting].add(shown)

    @property
    def seen(self) -> dict[Setting, _Seen]:
        """The runs of all replicas."""
        if not self.others:
            return self.own
        found = {setting: replace(seen) for setting, seen in self.own.items()}
        for setting, seen in self.others.items():
            found.setdefault(setting, _Seen()).merge(seen)
        return found

    def guesses(self) -> dict[Setting, _Guess]:
        """Predict a run with the mean numbers of kept and refused steps, for each tried setting."""
        found, every = self.seen, _Seen()
        for seen in found.values():
            every.merge(seen)
        if every.weight <= 0:
            return {}
        squares = every.kept2 + 2 * every.both + every.refused2
        mean = (every.kept_seconds + every.refused_seconds) / max(squares, _PRIOR)
        one, other = every.predict((mean, mean), 1, 0), every.predict((mean, mean), 0, 1)
        usual = one.seconds, other.seconds
        steps = every.kept / every.weight, every.refused / every.weight
        return {
            setting: seen.predict(usual, *steps)
            for setting, seen in found.items()
            if seen.weight > 0
        }


class Tuner:
    """Run hook that chooses the setting of each run and learns from its latency.

    The latency of a run depends more on its number of rejected steps than on the setting. So the
    tuner estimates the seconds of a kept and of a refused step for each setting, and compares
    settings at equal numbers of both. It chooses by LinUCB (Li et al. 2010, arXiv 1003.0146): the
    setting with the lowest confidence bound on latency, with forgetting. A setting is tried only
    after the one before it on its ladder has been fast enough. The tuner is deterministic.

    Args:
        ladders: Settings in the order in which they are tried. The first setting of the first
            ladder is the default, which the first run of each kind gets.
    """

    def __init__(self, ladders: Sequence[Sequence[Setting]] = SETTINGS) -> None:
        self._ladders = ladders
        self._books: dict[Hashable, _Book] = {}
        self._chosen: dict[RunScope, Setting] = {}

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """Choose the setting of a run; runs of methods other than fpsr are left alone."""
        if config.method != "fpsr":
            return config
        setting = self._chosen[run] = self.choose(kind_of(run.conversation))
        return replace(config, options=setting.applied(config.options))

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """Learn from the latency of a finished run."""
        if (setting := self._chosen.pop(run, None)) is not None:
            summary = None if result is None else RunSummary.of(result)
            self.learn(kind_of(run.conversation), setting, summary)

    def choose(self, kind: Hashable = None) -> Setting:
        """Choose the setting of a run that starts now, for a prompt of this kind."""
        book = self._books.setdefault(kind, _Book())
        guesses = book.guesses()
        setting = self._fresh(book, guesses) or self._likely(book, guesses)
        book.own.setdefault(setting, _Seen()).waiting += 1
        return setting

    def learn(self, kind: Hashable, setting: Setting, shown: RunSummary | None) -> None:
        """Record a finished run; `shown` is None if it failed."""
        book = self._books[kind]
        book.own[setting].waiting -= 1
        if shown is not None:
            book.add(setting, shown)

    def best(self, kind: Hashable = None) -> Setting:
        """Return the setting with the lowest predicted latency; the default if none was tried."""
        book = self._books.get(kind)
        guesses = book.guesses() if book is not None else {}
        return min(guesses, key=lambda s: guesses[s].seconds, default=self._ladders[0][0])

    def figures(self) -> list[dict[str, Any]]:
        """Return what this process has seen, as JSON values."""
        return [
            {
                "kind": list(kind) if isinstance(kind, tuple) else kind,
                "setting": asdict(setting),
                "sums": {name: getattr(seen, name) for name in _SUMS},
            }
            for kind, book in self._books.items()
            for setting, seen in book.own.items()
            if seen.weight > 0
        ]

    def take(self, others: Iterable[Iterable[Mapping[str, Any]]]) -> None:
        """Take what other replicas have seen by now.

        Args:
            others: Figures of each.
        """
        for book in self._books.values():
            book.others = {}
        for figures in others:
            for one in figures:
                kind = tuple(one["kind"]) if isinstance(one["kind"], list) else one["kind"]
                book = self._books.setdefault(kind, _Book())
                found = book.others.setdefault(Setting(**one["setting"]), _Seen())
                found.merge(_Seen(**one["sums"]))

    def _fresh(self, book: _Book, guesses: Mapping[Setting, _Guess]) -> Setting | None:
        """Return the next untried setting of a ladder that is still fast enough, else None."""
        # Compared with the default, not with the best: ladders say little about each other.
        tried = book.seen
        first = guesses.get(self._ladders[0][0])
        usual = first.seconds if first is not None else 0.0
        for ladder in self._ladders:
            before = usual  # seconds with the previous setting of the ladder
            for setting in ladder:
                seen = tried.get(setting)
                if seen is None or not (seen.weight or seen.waiting):
                    if usual >= _WORSE * before:
                        return setting
                    break
                if setting not in guesses:
                    break  # its first run has not finished
                before = guesses[setting].seconds
        return None

    def _likely(self, book: _Book, guesses: Mapping[Setting, _Guess]) -> Setting:
        if not guesses:
            return self._ladders[0][0]
        least = min(guess.seconds for guess in guesses.values())
        tried = book.seen
        runs = sum(seen.weight for seen in tried.values())
        bonus = _EXPLORATION * least * math.sqrt(math.log(1 + runs))

        def bound(setting: Setting) -> float:
            guess, waiting = guesses[setting], tried[setting].waiting
            return guess.seconds - bonus * guess.doubt / math.sqrt(1 + waiting)

        return min(guesses, key=bound)


def kind_of(conversation: Conversation) -> Hashable:
    """Return the kind of a prompt: with or without images, and its length on a log scale."""
    parts = [part for turn in conversation.turns for part in turn.parts]
    letters = sum(len(part.text) for part in parts if isinstance(part, Text))
    images = sum(not isinstance(part, Text) for part in parts)
    return images > 0, max(1, letters // 200).bit_length()
