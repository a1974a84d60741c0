"""How many runs are open at each model, of all pairs that use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dreamr._load import Concurrency


class OpenRuns:
    """Counts open runs by model.

    Pairs may use the same model, such as a target that is also served alone. Those that share none
    do not disturb each other.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextmanager
    def run(self, locations: Collection[str], count: int = 1) -> Iterator[Concurrency]:
        """Count a run inside the block, or several side by side.

        Args:
            locations: Where its models are, each once.
            count: Number of runs.

        Yields:
            The number of open runs at its most used model, these included.
        """
        counts = dict.fromkeys(locations, count)
        self._counts.update(counts)
        try:
            yield _AtModels(self._counts, locations)
        finally:
            self._counts.subtract(counts)


@dataclass(frozen=True, slots=True)
class _AtModels:
    """Open runs at models.

    Attributes:
        counts: Number of open runs by location.
        locations: Where the models are.
    """

    counts: Counter[str]
    locations: Collection[str]

    @property
    def running(self) -> int:
        """Number of open runs at the most used of them."""
        return max(self.counts[location] for location in self.locations)
