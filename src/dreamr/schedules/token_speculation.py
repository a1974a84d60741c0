"""Token-level speculative decoding with the same two models."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.protocol import RunEnd, ScheduleConfig, StepDone
from dreamr.schedules.turn_based import TurnBasedSchedule
from dreamr.steps import Ending, Finish, Step

# Length of a guess in tokens.
_INITIAL, _GROWTH, _SHRINKAGE, _LARGEST = 5, 2, 1, 32


class TokenSpeculation(TurnBasedSchedule):
    """Speculative decoding (arXiv 2211.17192): the draft guesses tokens, the target checks them.

    The length of a guess follows assisted generation in transformers: 5 tokens at first, 2 more
    after a guess that was right to its end, otherwise 1 less.

    As in the paper: guesses and checks alternate, and the greedy text equals that of the target
    alone. Different from the paper: draft and target are separate processes, as for all methods
    here, which costs a few messages per guess; and pieces of text are committed, not steps.

    Each round has three turns: the draft writes a guess, the target checks it, and the target
    writes the verified tokens and one more. An engine that has checked a guess already knows these
    tokens and computes none.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config)
        self._size = _INITIAL
        self._max_tokens = 0  # limit of the target's lane
        self._written = 0
        self._guess: list[Step] = []

    def _start_draft(self) -> None:
        if self._state.draft_lost:
            self._write(self._state.room)
        else:
            self._draft = self._state.open("draft", self._size, max_tokens=self._size)

    def _on_drafted(self, done: StepDone) -> None:
        self._guess.append(done.step)
        if done.finish is not None:
            self._on_draft_end()
        else:  # the lane's limit is in tokens, and one token can hold several steps
            self._state.grant(self._draft)

    def _on_draft_end(self) -> None:
        """Check the guess, if there is one."""
        self._draft = None
        if self._guess:
            text = "".join(step.text for step in self._guess)
            tokens = sum(step.tokens for step in self._guess)
            self._state.judge([Step(text, tokens, Ending.CAP)])
        else:
            self._write(0)

    def _on_draft_failure(self) -> None:
        self._discard_guess("draft failed")
        self._write(0)

    def _on_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        verdict = verdicts[0]
        self._adapt(verdict.accepted)
        self._discard_guess(verdict.reason)
        self._write(0 if verdict.evidence is None else verdict.evidence.matched_tokens)

    def _on_judge_failure(self, message: str) -> None:
        self._state.warn(f"check failed: {message}")
        self._discard_guess("check failed")
        self._write(0)

    def _adapt(self, right: bool) -> None:
        larger, smaller = self._size + _GROWTH, self._size - _SHRINKAGE
        self._size = min(_LARGEST, larger) if right else max(1, smaller)

    def _write(self, matched_tokens: int) -> None:
        """Let the target write the verified tokens and one more."""
        self._draft = None
        self._open_target(matched_tokens + 1)

    def _open_target(self, max_tokens: int) -> None:
        self._written, self._max_tokens = 0, min(max_tokens, self._state.room)
        self._target = self._state.open("target", self._max_tokens, max_tokens=self._max_tokens)

    def _on_target(self, step: Step | None, finish: Finish | None) -> None:
        if step is None and finish == "length" and self._go_on():
            return
        end: RunEnd | None = None
        if step is not None:
            self._written += step.tokens
            end = self._state.commit_piece(step)
        if end is None and finish == "stop":
            end = "stop"
        elif end is None and finish == "length" and self._written < self._max_tokens:
            self._state.warn("the target reached its token limit")
            end = "length"
        if end is not None:
            self._state.finish(end)
        elif finish is not None:
            self._start_draft()
        else:
            self._state.grant(self._target)

    def _go_on(self) -> bool:
        """Continue after tokens without text, which are the beginning of a character, if possible.

        Engines report the text of a character with its last token.
        """
        if self._written:
            self._start_draft()
            return True
        larger = self._max_tokens < self._state.room
        if larger:
            self._open_target(2 * self._max_tokens)
        return larger

    def _discard_guess(self, why: str) -> None:
        """Discard the drafted guess; the target writes the verified part itself."""
        self._state.discard_drafted(self._state.position, self._guess, why)
        self._guess = []

    def _undecided(self) -> Sequence[Step]:
        return self._guess
