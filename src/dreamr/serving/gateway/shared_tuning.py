"""What the tuners of all replicas have seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from uuid import uuid4

import anyio

from dreamr.serving.store import Kind, Store, StoredRecord
from dreamr.serving.tuning import Tuner

_KIND = Kind("tuning", 1000, 16 * 2**20)
_SECONDS = 5.0  # between two exchanges
_KEPT = 3600.0  # seconds that the figures of a replica outlive it


@dataclass(frozen=True, slots=True)
class SharedTuning:
    """Exchanges the figures of tuners.

    Attributes:
        tuner: The tuner of this replica.
        store: Where the figures are.
        pair: Name of the pair.
        name: Name of this replica.
    """

    tuner: Tuner
    store: Store
    pair: str
    name: str = field(default_factory=lambda: uuid4().hex)

    async def run(self) -> None:
        """Exchange figures until canceled."""
        while True:
            await self.exchange()
            await anyio.sleep(_SECONDS)

    async def exchange(self) -> None:
        """Write the figures of this replica, and take those of all others."""
        records = self.store.records
        if figures := self.tuner.figures():
            own = StoredRecord(self.name, self.pair, json.dumps(figures).encode())
            await records.put(_KIND, own, _KEPT, len(own.content))
        found = await records.all(_KIND, self.pair)
        self.tuner.take(json.loads(one.content) for one in found if one.name != self.name)
