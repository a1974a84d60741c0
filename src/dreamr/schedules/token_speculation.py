"""Speculative decoding by tokens: the classical method, with the same two models."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr.gate import Verdict
from dreamr.schedules.protocol import RunEnd, ScheduleConfig, StepDone
from dreamr.schedules.turn_based import TurnBasedSchedule
from dreamr.steps import Ending, Finish, Step

_FIRST, _MORE, _LESS, _MOST = 5, 2, 1, 32  # tokens of a guess


class TokenSpeculation(TurnBasedSchedule):
    """The draft guesses some tokens, the target checks them in one pass and writes one itself.

    The source is arXiv 2211.17192; the length of a guess is that of transformers' assisted
    generation (5 tokens at first, 2 more after one that was right to its end, else 1 less).
    Faithful: greedy and exact, the text is what the target alone writes; guesses and checks take
    turns. Different: draft and target are processes of their own, as for all methods here, which
    costs some messages a guess; what is committed is pieces of text, not steps.

    The turns are the draft's on a guess, the target's to check it, and the target's to write down
    what that has shown it (an engine that has checked a guess knows the tokens, and computes none).
    """

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config)
        self._size = _FIRST
        self._max_tokens = 0  # tokens that the target's lane may write
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
        else:  # the lane is bounded by tokens, and one of them may hold more than a step
            self._state.grant(self._draft)

    def _on_draft_end(self) -> None:
        """Have the guess checked, if there is one."""
        self._draft = None
        if self._guess:
            text = "".join(step.text for step in self._guess)
            tokens = sum(step.tokens for step in self._guess)
            self._state.judge([Step(text, tokens, Ending.CAP)])
        else:
            self._write(0)

    def _on_draft_failure(self) -> None:
        self._discard_guess("the draft failed")
        self._write(0)

    def _on_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        verdict = verdicts[0]
        self._adapt(verdict.accepted)
        self._discard_guess(verdict.reason)
        self._write(0 if verdict.evidence is None else verdict.evidence.matched_tokens)

    def _on_judge_failure(self, message: str) -> None:
        self._state.warn(f"checking failed: {message}")
        self._discard_guess("checking failed")
        self._write(0)

    def _adapt(self, right: bool) -> None:
        self._size = min(_MOST, self._size + _MORE) if right else max(1, self._size - _LESS)

    def _write(self, matched_tokens: int) -> None:
        """Let the target write what it agreed to, and one token of its own."""
        self._draft, self._written = None, 0
        self._max_tokens = min(matched_tokens + 1, self._state.room)
        self._target = self._state.open("target", self._max_tokens, max_tokens=self._max_tokens)

    def _on_target(self, step: Step | None, finish: Finish | None) -> None:
        end: RunEnd | None = None
        if step is not None:
            self._written += step.tokens
            end = self._state.commit_piece(step)
        if end is None and finish == "stop":
            end = "stop"
        elif end is None and finish == "length" and self._written < self._max_tokens:
            self._state.warn("the target was cut by the limit on tokens")
            end = "length"
        if end is not None:
            self._state.finish(end)
        elif finish is not None:
            self._start_draft()
        else:
            self._state.grant(self._target)

    def _discard_guess(self, why: str) -> None:
        """What was guessed is not committed itself: the target says the same, as far as it goes."""
        self._state.discard_drafted(self._state.position, self._guess, why)
        self._guess = []

    def _undecided(self) -> Sequence[Step]:
        return self._guess
