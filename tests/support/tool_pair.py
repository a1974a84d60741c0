"""A pair whose target calls a tool first, then says what it returned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from dreamr.answers import AnswerForm, AnswerPiece, CallDelta
from dreamr.conversation import Text
from dreamr.engines import AnsweringEngine, Context, Model, ModelSource
from support.pairs import RIGHT, Pair


@dataclass
class ToolPair(Pair):
    """Factory of a scripted draft and of a target that calls a tool.

    Attributes:
        arguments: Arguments of the call, by the name of the tool.
        words: Texts that the target says around the result of the tool.
    """

    arguments: dict[str, dict[str, str]] = field(default_factory=dict)
    words: tuple[str, str] = ("Tea costs ", ".")

    async def __call__(self, source: ModelSource) -> Model:
        if source.role == "draft":
            return await super().__call__(source)
        opinion = dict.fromkeys(RIGHT, 0.93)
        engine = AnsweringEngine(script=RIGHT, opinion=opinion, name="target", answers=self._answer)
        self.opened["target"] = engine
        return Model(engine)

    def _answer(self, context: Context, form: AnswerForm) -> Sequence[AnswerPiece]:
        results = [turn for turn in context.conversation.turns if turn.role == "tool"]
        if results:
            said = "".join(part.text for part in results[-1].parts if isinstance(part, Text))
            return [AnswerPiece(text=said.join(self.words), tokens=3)]
        names = [t.name for t in context.conversation.tools if t.name in self.arguments]
        if not names:
            return [AnswerPiece(text="Hello.", tokens=2)]
        call = json.dumps(self.arguments[names[0]])
        return [
            AnswerPiece(calls=(CallDelta(0, "", "call_1", names[0]),), tokens=1),
            AnswerPiece(calls=(CallDelta(0, call[:5]),), tokens=1),
            AnswerPiece(calls=(CallDelta(0, call[5:]),), tokens=1),
        ]
