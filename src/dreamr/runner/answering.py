"""The answer of a run in the form that is demanded, from the pieces of the target's engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from dreamr.answers import AnswerBuilder, AnswerForm, AnswerPiece
from dreamr.conversation import ToolCall
from dreamr.engines import AnswersInForm, Context, SamplingParams
from dreamr.runner.lanes import Lane
from dreamr.runner.recorder import Recorder
from dreamr.runner.stopping import AnswerCut
from dreamr.schedules import Signal, StepDone
from dreamr.steps import THINK, THOUGHT, Ending, Finish, Step
from dreamr.trace import AnswerExtended, StepReady

# What models write where they call tools; servers parse it only in the answer's own request.
_CALLS = (
    "<tool_call", "<|tool_call", "<|tool▁call", "<\uff5ctool▁call", "[TOOL_CALLS]", "<function=",
    "<|python_tag|>", "<longcat_tool_call", "<minimax:tool_call", "<|action_start|>",
    '{"name":', '[{"name":', "```tool_code",
)  # fmt: skip


def calls_tool(text: str) -> bool:
    """Return whether the text of a step begins, or has a line that begins, like a call."""
    return any(line.lstrip().startswith(_CALLS) for line in text.split("\n"))


def may_call(form: AnswerForm, *, tools: bool) -> Callable[[str], bool]:
    """Return the function that tells whether a step is a call, for a form of the answer."""
    return calls_tool if tools and form.tool_choice != "none" else lambda text: False


class AnswerLane:
    """Writes the answer in its form, and reports pieces and steps.

    Args:
        engine: Engine of the target.
        form: Form of the answer.
        answer_marker: Text that may begin an answer without a format, and is not part of it.
        lane: Lane of the answer; updated meanwhile.
        recorder: Gets the pieces, the steps and the answer.
        signal: Tells the schedule of each step.
        stops: Texts that end the answer.
    """

    def __init__(
        self,
        engine: AnswersInForm,
        form: AnswerForm,
        answer_marker: str | None,
        lane: Lane,
        recorder: Recorder,
        signal: Callable[[Signal], None],
        stops: tuple[str, ...] = (),
    ) -> None:
        self._engine, self._form, self._lane = engine, form, lane
        self._recorder, self._signal = recorder, signal
        self._marker = "" if form.format is not None else answer_marker or ""
        self._begins, self._held = True, ""
        self._stop = AnswerCut(stops)

    async def run(self, context: Context, sampling: SamplingParams) -> Finish:
        """Write the answer and return how it ended.

        Args:
            context: The conversation and the reasoning.
            sampling: Parameters of the answer.

        Raises:
            EngineError: If the engine fails.
        """
        builder, lane, thought = AnswerBuilder(), self._lane, 0
        async with aclosing(self._engine.write_answer(context, self._form, sampling)) as pieces:
            async for piece in pieces:
                lane.since = time.monotonic()
                lane.began = lane.began or lane.since
                lane.tokens += piece.tokens
                thought += piece.tokens if piece.reasoning else 0
                shown = self._stop.cut(self._shown(piece))
                builder.add(shown)
                lane.answer += shown.text
                if shown.text or shown.reasoning or shown.calls or shown.logprobs:
                    values = (shown.text, shown.reasoning, shown.calls, shown.logprobs)
                    self._recorder.add(AnswerExtended, *values)
                if shown.finish is not None and piece.finish is None:
                    break  # a stop text
        written = builder.build()
        if written.reasoning:
            text = f"{THINK}\n{written.reasoning.strip()}\n{THOUGHT}\n\n"
            self._complete(Step(text, thought, Ending.DELIMITER), None)
        said = written.text + "".join(map(_said, written.calls))
        tokens = written.tokens - thought
        self._complete(Step(said, tokens, Ending.ANSWER), written.finish)
        self._recorder.note_answer(written)
        return written.finish

    def _complete(self, step: Step, finish: Finish | None) -> None:
        lane = self._lane
        self._recorder.add(StepReady, lane.number, lane.role, lane.position, step)
        lane.position += 1
        self._signal(StepDone(lane.number, step, finish))

    def _shown(self, piece: AnswerPiece) -> AnswerPiece:
        """Return a piece without the white space and the marker at the beginning of the answer."""
        if not self._begins:
            return piece
        text, marker = (self._held + piece.text).lstrip(), self._marker
        if piece.finish is None and (not text or marker.startswith(text)):
            self._held = text
            return replace(piece, text="")
        self._begins, self._held = False, ""
        if marker and text.startswith(marker):
            text = text[len(marker) :].lstrip()
        return replace(piece, text=text)


def _said(call: ToolCall) -> str:
    """Return a call as the text of a trace."""
    return f"{call.name}({call.arguments})\n"
