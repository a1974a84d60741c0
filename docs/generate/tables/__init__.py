"""Tables of docs/results.md by their names in the template, a module for each subject."""

from __future__ import annotations

from tables import benches, engine, predictions, servers, serving, training
from tables.figures import Table

__all__ = ["TABLES"]

TABLES: dict[str, Table] = {
    **benches.TABLES,
    **servers.TABLES,
    **serving.TABLES,
    **engine.TABLES,
    **training.TABLES,
    **predictions.TABLES,
}
