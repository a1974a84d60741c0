from __future__ import annotations

from dreamr.answers import AnswerBuilder, AnswerPiece, CallDelta, TokenLogprob
from dreamr.conversation import ToolCall


def test_the_pieces_of_an_answer_join_to_the_whole() -> None:
    builder = AnswerBuilder()
    likely = TokenLogprob("It", -0.1, (73, 116))
    for piece in (
        AnswerPiece(reasoning="Think."),
        AnswerPiece("It", tokens=1, logprobs=(likely,)),
        AnswerPiece(" is", tokens=1),
        AnswerPiece(calls=(CallDelta(1, id="b", name="clock"),)),
        AnswerPiece(calls=(CallDelta(0, "{", "a", "weather"), CallDelta(1, "{}"))),
        AnswerPiece(calls=(CallDelta(0, "}"),), tokens=7, finish="length"),
    ):
        builder.add(piece)
    written = builder.build()
    assert (written.text, written.reasoning, written.tokens) == ("It is", "Think.", 9)
    assert written.calls == (ToolCall("a", "weather", "{}"), ToolCall("b", "clock", "{}"))
    assert written.logprobs == (likely,)
    assert written.finish == "length"
