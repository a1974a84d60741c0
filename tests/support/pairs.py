"""Scripted models for a small run with one accepted and one rejected step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dreamr.engines import AnsweringEngine, Model, ModelSource, ScriptedEngine
from dreamr.steps import Role

QUESTION = "What do tea and milk cost together?"
RIGHT = ("Tea costs 2.50.\n\n", "Milk costs 1.20.\n\n", "Answer: 3.70")
WRONG = "Milk costs 7.20.\n\n"


@dataclass
class Pair:
    """Factory of a scripted target and draft.

    Attributes:
        target: Arguments of the target's engine.
        draft: Arguments of the draft's engine.
        errors: Errors that opening a role raises.
        opened: Engines that were opened.
    """

    target: dict[str, Any] = field(default_factory=dict)
    draft: dict[str, Any] = field(default_factory=dict)
    errors: dict[Role, Exception] = field(default_factory=dict)
    opened: dict[Role, ScriptedEngine] = field(default_factory=dict)

    async def __call__(self, source: ModelSource) -> Model:
        if source.role in self.errors:
            raise self.errors[source.role]
        script = RIGHT if source.role == "target" else (RIGHT[0], WRONG, RIGHT[2])
        plan: dict[str, Any] = {"script": script, "opinion": dict.fromkeys(RIGHT, 0.93)}
        plan |= {"name": source.role} | (self.target if source.role == "target" else self.draft)
        engine = AnsweringEngine if "answers" in plan else ScriptedEngine
        self.opened[source.role] = engine(**plan)
        return Model(self.opened[source.role])
